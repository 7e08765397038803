"""`validate`: is this host, and from a server its whole cluster, as it shall be? Only `--full` makes anything."""

from __future__ import annotations

from typing import Any, Callable, List, Mapping, Optional, Tuple

from productive_k3s import paths
from productive_k3s.apply import GatherFacts
from productive_k3s.checks import of_cluster, of_host
from productive_k3s.checks.expectation import Expectation
from productive_k3s.checks.judgement import failed
from productive_k3s.checks.trial import Field, random_name, try_pods
from productive_k3s.codec import decode
from productive_k3s.events import CheckResult, Result
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.facts.model import Facts
from productive_k3s.failure import ContractError, Failure
from productive_k3s.host import Host


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
    certificates = await of_host.read_certificates(host.system, facts)
    checks = list(of_host.judge_host(facts, certificates, wanted.version))
    if scope == "cluster" or full:
        _require_server(facts)
        checks.extend(await _cluster(host, facts, wanted, full=full, new_name=new_name))
    broken = any(not check.passed and check.severity == "error" for check in checks)
    return Result("failed" if broken else "done", checks=tuple(checks), facts=facts)


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


async def _cluster(
    host: Host, facts: Facts, wanted: Expectation, *, full: bool, new_name: Callable[[], str]
) -> Tuple[CheckResult, ...]:
    kube = host.kube(paths.ADMIN_KUBECONFIG)
    seen, seconds = await of_cluster.watch_cluster(host, kube, facts, wanted)
    closer = await of_cluster.look_closer(kube, seen, wanted)
    checks: List[CheckResult] = list(of_cluster.judge_cluster(facts, wanted, seen, seconds, closer))
    if full:
        ready = tuple(node.name for node in seen.cluster.nodes if node.ready)
        checks.extend(_not_tried(node.name) for node in seen.cluster.nodes if not node.ready)
        if ready:
            checks.extend(await try_pods(Field(host, kube, facts, wanted, ready), new_name))
    return tuple(checks)


def _not_tried(node: str) -> CheckResult:
    return failed("pod.runs", node, "not tried: the node is not Ready", "see node.ready", "mend the node first")
