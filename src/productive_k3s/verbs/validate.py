"""`validate`: is this host, and from a server its whole cluster, as it shall be? Only `--full` makes anything."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Tuple

from productive_k3s.checks import of_cluster, of_host
from productive_k3s.checks.expectation import Expectation
from productive_k3s.checks.judgement import failed
from productive_k3s.checks.of_cluster import Seen
from productive_k3s.checks.trial import Course, Field, random_name
from productive_k3s.checks.trial_objects import PREFIX
from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.doors.kube import KubeReading, TrialOnly
from productive_k3s.effects.lock import require_trial_lock
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.k3s import paths


async def run(
    host: Host,
    scope: str,
    full: bool,
    document: Optional[Mapping[str, Any]],
    *,
    gather: GatherFacts = gather_facts,
    new_name: Callable[[], str] = random_name,
) -> Result:
    """Judge the host, with scope `cluster` its cluster too, with `full` by pods on its nodes. All checks run."""
    wanted = Expectation() if document is None else decode(Expectation, document, "expectation")
    facts = await gather(host)
    if scope != "cluster" and not full:
        return _result(facts, await _own(host, facts, wanted))
    _require_server(facts)
    kube = host.kube(paths.ADMIN_KUBECONFIG)
    course = Course(Field(host, TrialOnly(kube, PREFIX), facts, wanted), new_name) if full else None
    gone: Tuple[CheckResult, ...] = ()
    if course is not None:
        await require_trial_lock(host)
    try:
        checks, seen = await _watch(host, kube, facts, wanted, course)
        # That took its time: a service that ended meanwhile is a finding. Pods have not yet reached each other now.
        facts = await gather(host)
        checks = (*await _own(host, facts, wanted), *checks)
        if course is not None:
            checks = (*checks, *await _tried(course, seen))
    finally:
        gone = await course.remove() if course is not None else ()
    return _result(facts, (*checks, *gone))


async def _own(host: Host, facts: Facts, wanted: Expectation) -> Tuple[CheckResult, ...]:
    certificates = await of_host.read_certificates(host.system, facts)
    return of_host.judge_host(facts, certificates, wanted.version)


def _result(facts: Facts, checks: Tuple[CheckResult, ...]) -> Result:
    broken = any(not check.passed and check.severity == "error" for check in checks)
    return Result("failed" if broken else "done", checks=checks, facts=facts)


def _require_server(facts: Facts) -> None:
    if facts.k3s.role != "server":
        raise ContractError(
            Failure(
                code="request.scope",
                what="a cluster is validated from one of its servers",
                evidence=f"this host is {'an agent' if facts.k3s.role == 'agent' else 'no node'}",
                remedy="run it on a server, or with --scope host",
                exit_code=2,
            )
        )


async def _watch(
    host: Host, kube: KubeReading, facts: Facts, wanted: Expectation, course: Optional[Course] = None
) -> Tuple[Tuple[CheckResult, ...], Seen]:
    async def looked(seen: Seen) -> None:
        if course is not None and not seen.readiness:
            ready = tuple(node.name for node in seen.cluster.nodes if node.ready)
            await course.saw(tuple(item.name for item in seen.expected), ready)

    seen, seconds = await of_cluster.watch_cluster(host, kube, facts, wanted, looked)
    closer = await of_cluster.look_closer(kube, seen, wanted)
    return of_cluster.judge_cluster(facts, wanted, seen, seconds, closer), seen


async def _tried(course: Course, seen: Seen) -> Tuple[CheckResult, ...]:
    found = await course.end()
    untried = [item.name for item in seen.expected if not course.tried(item.name)]
    return (*(_not_tried(node) for node in untried), *found)


def _not_tried(node: str) -> CheckResult:
    return failed("pod.runs", node, "not tried: the node is not Ready", "see node.ready", "mend the node first")
