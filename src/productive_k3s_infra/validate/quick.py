"""PURE: what a validation expects of the hosts, and their answers merged into one report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.expectation import Expectation, ExpectedNode
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.plan.host_network import is_ip
from productive_k3s_infra.validate.report import Report, Scope, merge

Answer = Result | Pk3sError

# What helps whom the host program's own words do not: the cluster is asked from where the file has a server.
_REMEDIES = {"request.scope": "K3s is not running there as the file describes: run pk3s plan for details"}


def expectation(spec: ClusterSpec, inventory: Inventory) -> Expectation:
    """Return the cluster that shall be found: every node of the inventory, by identity."""
    # Which address a name leads to is for the host to say: K3s chose it there.
    nodes = tuple(
        ExpectedNode(host.name, host.role, host.address if is_ip(host.address) else "") for host in inventory.hosts
    )
    return Expectation(version=spec.k3s.version, nodes=nodes, may_pull=_may_pull(spec))


def _may_pull(spec: ClusterSpec) -> bool:
    """Hosts to which images are pushed reach no registry, unless the file names one."""
    source = spec.k3s.artifacts.source
    pushed = spec.delivery == "push" or (source != "release" and "://" not in source)
    return not pushed or spec.k3s.registries is not None


def scope_of(answer: Answer, asked: Scope) -> Scope:
    """Return how far the validation of the cluster went: its server says so where it could do less than asked."""
    said = answer.data.get("scope") if isinstance(answer, Result) and answer.data else None
    return "quick" if said == "quick" else asked


def facts_of(answers: Mapping[str, Answer]) -> dict[str, Facts]:
    """Return what the hosts that answered are, by host name."""
    return {name: said.facts for name, said in answers.items() if isinstance(said, Result) and said.facts is not None}


def report_of(
    cluster: str, answers: Mapping[str, Answer], api: Iterable[CheckResult], *, scope: Scope = "quick"
) -> Report:
    """Merge what each host found (by host name) with what was seen of the API from here."""
    return merge(cluster, scope, (*(checks_of(host, answer) for host, answer in answers.items()), api))


def checks_of(host: str, answer: Answer) -> tuple[CheckResult, ...]:
    """Return the check results of one host. That it cannot be asked, or could not look, is a failed one."""
    if isinstance(answer, Pk3sError):
        return (not_asked(host, answer),)
    failures = tuple(_failed(host, failure) for failure in answer.failures)
    if answer.checks or failures:
        return (*answer.checks, *failures)
    what = f"the validation on the host ended as {answer.outcome} and reported nothing"
    remedy = f"run productive-k3s validate on {host}"
    return (CheckResult("host.validated", host, False, "error", what, remedy=remedy),)


def _failed(host: str, failure: Failure) -> CheckResult:
    remedy = _REMEDIES.get(failure.code, failure.remedy)
    return CheckResult(failure.code, host, False, "error", failure.what, failure.evidence, remedy)


def not_asked(host: str, error: Pk3sError) -> CheckResult:
    """Return the result for a host that cannot be asked; the evidence begins with the error's code."""
    evidence = f"{error.code}: {error.evidence}" if error.evidence else error.code
    return CheckResult("host.reachable", host, False, "error", error.what, evidence, error.remedy)
