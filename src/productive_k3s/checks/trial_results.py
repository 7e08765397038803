"""PURE: what the pods of a trial found, node by node."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Sequence, Tuple

from productive_k3s.checks.judgement import failed, passed, warned
from productive_k3s.checks.pods import with_warning
from productive_k3s.checks.trial_objects import Trial, ended, pod_name, reported
from productive_k3s.contract.events import CheckResult
from productive_k3s.facts.pods import Pod, trouble

_OK = "ok"
_DNS, _LATE = "dns", "late"


def by_name(pods: Sequence[Pod]) -> Dict[str, Pod]:
    """Return the pods of one namespace by name."""
    return {str(pod.get("metadata", {}).get("name", "")): pod for pod in pods}


def reports(trial: Trial, pods: Mapping[str, Pod], logs: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the pods found last, by node; one that ended says only how. `logs` are by pod."""
    found = {}
    for index, node in enumerate(trial.nodes):
        name = pod_name(index)
        report = ended(pods.get(name)) or reported(logs.get(name, ""))
        if report:
            found[node] = report
    return found


def asking(trial: Trial, found: Mapping[str, str]) -> Tuple[str, ...]:
    """Return the nodes from which not all was reached yet."""
    return tuple(node for node in trial.nodes if found.get(node, "").strip() != _OK)


def judge_trial(
    trial: Trial, pods: Mapping[str, Pod], found: Mapping[str, str], warnings: Mapping[str, str], seconds: float
) -> Tuple[CheckResult, ...]:
    """Return for every node: does a pod run there, do names resolve there, and does every node answer from there?

    `found` has the reports by node, `warnings` those of events by pod.
    """
    checks = []
    for index, node in enumerate(trial.nodes):
        name = pod_name(index)
        why = _why(pods.get(name), warnings.get(name, ""))
        checks.append(_runs(node, why, seconds))
        said = found.get(node)
        if said is None:
            checks.append(_silent(node, why, seconds))
        else:
            causes = _causes(trial, said)
            checks.append(_dns(trial, node, [name for name, cause in causes if cause == _DNS]))
            checks.append(_answers(trial, node, {name: cause for name, cause in causes if cause != _DNS}))
    return tuple(checks)


def has_no_sandbox(pod: Pod) -> bool:
    """Return whether a kubelet has taken the pod on, and could not give it its network and namespaces yet.

    The condition is Kubernetes' own since 1.29 (kubernetes.io, Pod lifecycle: pod network readiness).
    """
    conditions = {item.get("type"): item.get("status") for item in pod.get("status", {}).get("conditions") or ()}
    return pod.get("status", {}).get("phase") == "Pending" and conditions.get("PodReadyToStartContainers") == "False"


def _why(pod: Optional[Pod], warning: str) -> str:
    if pod is None:
        return "the pod does not exist"
    why = trouble(pod)
    return with_warning(why, warning) if why else ""


def _runs(node: str, why: str, seconds: float) -> CheckResult:
    if not why:
        return passed("pod.runs", node, "a pod runs there")
    remedy = "see journalctl -u k3s (k3s-agent) on that host, and whether it can pull the image"
    return failed("pod.runs", node, f"no pod runs there after {seconds:.0f} s", why, remedy)


def _silent(node: str, why: str, seconds: float) -> CheckResult:
    what = f"the pod there has reported nothing after {seconds:.0f} s"
    remedy = "did pod.runs pass there? The pod's log is read through tcp/10250 of that host"
    return failed("pod.reaches", node, what, why or "the pod runs, but its log cannot be read or is empty", remedy)


def _causes(trial: Trial, said: str) -> Tuple[Tuple[str, str], ...]:
    """Return (node, cause) of what was not reached. A message that is no report is the cause for all."""
    if said.strip() == _OK:
        return ()
    found = []
    for line in said.splitlines():
        index, _, cause = line.partition(" ")
        if index.isdigit() and int(index) < len(trial.nodes) and cause:
            found.append((trial.nodes[int(index)], cause.strip()))
    found.sort(key=lambda item: trial.nodes.index(item[0]))
    return tuple(found) or tuple((node, said.strip()) for node in trial.nodes)


def _dns(trial: Trial, node: str, unresolved: Sequence[str]) -> CheckResult:
    check = "pod.dns"
    if not trial.dns:
        what = "names were not tested: the cluster has no Service kube-system/kube-dns"
        if trial.dns_is_expected:
            seen = "CoreDNS is not disabled, so K3s should have created it"
            return failed(check, node, what, seen, "see journalctl -u k3s on the servers (deploy controller)")
        return warned(check, node, what, "coredns is in `disable`", "install a DNS if pods need names")
    if not unresolved:
        return passed(check, node, f"{len(trial.nodes)} Service names resolve from there")
    what = f"{len(unresolved)} of {len(trial.nodes)} Service names do not resolve from there"
    seen = f"the Services before {', '.join(unresolved)}"
    remedy = "is CoreDNS running, and is udp/8472 (flannel) open between the hosts?"
    return failed(check, node, what, seen, remedy)


def _answers(trial: Trial, node: str, unanswered: Mapping[str, str]) -> CheckResult:
    check, asked = "pod.reaches", len(trial.nodes)
    if not unanswered:
        return passed(check, node, f"{asked} of {asked} nodes answer through their Service from there")
    what = f"{len(unanswered)} of {asked} nodes do not answer through their Service from there"
    seen = "; ".join(f"{name}: {_in_words(cause)}" for name, cause in unanswered.items())
    return failed(check, node, what, seen, "are udp/8472 (flannel) and forwarding open between these hosts?")


def _in_words(cause: str) -> str:
    if cause == _LATE:
        return "not tested before the time ran out"
    kind, _, said = cause.partition(" ")
    return (f"{said!r} instead of its name" if said else "no answer") if kind == "answer" else cause
