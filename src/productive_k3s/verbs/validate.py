"""`validate`: is this host, and from a server its whole cluster, as it shall be? Only `--full` makes anything."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Tuple

from productive_k3s.checks import cluster
from productive_k3s.checks import host as host_checks
from productive_k3s.checks.cluster import ClusterState
from productive_k3s.checks.judgement import failed
from productive_k3s.checks.trial import Target, TrialRun, random_name
from productive_k3s.checks.trial_objects import PREFIX
from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.expectation import Expectation
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.doors.kube import KubeReading, TrialOnly
from productive_k3s.effects.lock import require_trial_lock
from productive_k3s.effects.passed import note_passed, passed_state
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
    """Judge the host, with scope `cluster` its cluster too, with `full` by pods on its nodes. All checks run.

    `data.scope` of the result says how far it went: where a full validation has passed for the expected state, and the
    expectation says so, it is a quick one.
    """
    wanted = Expectation() if document is None else decode(Expectation, document, "expectation")
    facts = await gather(host)
    if scope != "cluster" and not full:
        return _result(facts, await _own(host, facts, wanted), "host")
    _require_server(facts)
    kube = host.kube(paths.ADMIN_KUBECONFIG)
    if full and wanted.unless_passed and await _has_passed(kube, wanted.state):
        full = False
    trial_run = TrialRun(Target(host, TrialOnly(kube, PREFIX), facts, wanted), new_name) if full else None
    gone: Tuple[CheckResult, ...] = ()
    if trial_run is not None:
        await require_trial_lock(host)
    try:
        checks, seen = await _watch(host, kube, facts, wanted, trial_run)
        # That took its time: a service that ended meanwhile is a finding. Pods have not yet reached each other now.
        facts = await gather(host)
        checks = (*await _own(host, facts, wanted), *checks)
        if trial_run is not None:
            checks = (*checks, *await _tried(trial_run, seen))
    finally:
        gone = await trial_run.remove() if trial_run is not None else ()
    return _result(facts, (*checks, *gone), "full" if full else "quick")


async def note(host: Host, state: str, *, gather: GatherFacts = gather_facts) -> Result:
    """Note for which state the driver's full validation has passed, '' that the last one has not."""
    _require_server(await gather(host))
    await note_passed(host.kube(paths.ADMIN_KUBECONFIG), state)
    return Result("done")


async def _has_passed(kube: KubeReading, state: str) -> bool:
    """Whether it is known that a full validation has passed for this state; for no state: that the last one has."""
    try:
        noted = await passed_state(kube)
        return noted == state if state else bool(noted)
    except ContractError:
        return False


async def _own(host: Host, facts: Facts, wanted: Expectation) -> Tuple[CheckResult, ...]:
    certificates = await host_checks.read_certificates(host.system, facts)
    return host_checks.judge_host(facts, certificates, wanted.version)


def _result(facts: Facts, checks: Tuple[CheckResult, ...], scope: str) -> Result:
    broken = any(not check.passed and check.severity == "error" for check in checks)
    return Result("failed" if broken else "done", checks=checks, facts=facts, data={"scope": scope})


def _require_server(facts: Facts) -> None:
    if facts.k3s.role != "server":
        raise ContractError(
            Failure(
                code="request.scope",
                what="a cluster is validated from one of its servers",
                evidence=f"this host is {'an agent' if facts.k3s.role == 'agent' else 'no node'}",
                remedy="run this on a server of the cluster; a host can validate itself with scope host",
                exit_code=ExitCode.BAD_INPUT,
            )
        )


async def _watch(
    host: Host, kube: KubeReading, facts: Facts, wanted: Expectation, trial_run: Optional[TrialRun] = None
) -> Tuple[Tuple[CheckResult, ...], ClusterState]:
    async def looked(seen: ClusterState) -> None:
        if trial_run is not None and not seen.readiness:
            ready = tuple(node.name for node in seen.cluster.nodes if node.ready)
            await trial_run.saw(tuple(item.name for item in seen.expected), ready)

    seen, seconds = await cluster.watch_cluster(host, kube, facts, wanted, looked)
    evidence = await cluster.gather_evidence(kube, seen, wanted)
    return cluster.judge_cluster(facts, wanted, seen, seconds, evidence), seen


async def _tried(trial_run: TrialRun, seen: ClusterState) -> Tuple[CheckResult, ...]:
    found = await trial_run.end()
    untried = [item.name for item in seen.expected if not trial_run.tried(item.name)]
    return (*(_not_tried(node) for node in untried), *found)


def _not_tried(node: str) -> CheckResult:
    return failed("pod.runs", node, "not tested: the node is not Ready", "see node.ready", "fix the node first")
