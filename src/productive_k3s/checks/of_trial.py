"""PURE: what the pods of a trial found, node by node."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Sequence, Tuple

from productive_k3s.checks.judgement import failed, passed
from productive_k3s.checks.of_pods import Pod, trouble, with_warning
from productive_k3s.checks.trial_objects import Trial, message
from productive_k3s.events import CheckResult

_OK = "ok"
_DNS, _LATE = "dns", "late"


def by_name(pods: Sequence[Pod]) -> Dict[str, Pod]:
    """Return the pods of one namespace by name."""
    return {str(pod.get("metadata", {}).get("name", "")): pod for pod in pods}


def pending(trial: Trial, pods: Mapping[str, Pod]) -> Tuple[str, ...]:
    """Return the nodes whose asking pod has not ended yet."""
    return tuple(node for index, node in enumerate(trial.nodes) if message(pods.get(f"ask-{index}")) is None)


def judge_trial(
    trial: Trial, pods: Mapping[str, Pod], warnings: Mapping[str, str], seconds: float
) -> Tuple[CheckResult, ...]:
    """Return for every node: does a pod run there, do names resolve there, and does every node answer from there?"""
    checks = []
    for index, node in enumerate(trial.nodes):
        answer, ask = f"answer-{index}", f"ask-{index}"
        checks.append(_runs(node, _why(pods.get(answer), warnings.get(answer, "")), seconds))
        said = message(pods.get(ask))
        if said is None:
            checks.append(_still_asks(node, _why(pods.get(ask), warnings.get(ask, "")), seconds))
        else:
            causes = _causes(trial, said)
            checks.append(_dns(trial, node, [name for name, cause in causes if cause == _DNS]))
            checks.append(_answers(trial, node, {name: cause for name, cause in causes if cause != _DNS}))
    return tuple(checks)


def _why(pod: Optional[Pod], warning: str) -> str:
    if pod is None:
        return "the pod is not there"
    why = trouble(pod)
    return with_warning(why, warning) if why else ""


def _runs(node: str, why: str, seconds: float) -> CheckResult:
    if not why:
        return passed("pod.runs", node, "a pod runs there")
    remedy = "see journalctl -u k3s (k3s-agent) on that host, and whether it can have the image"
    return failed("pod.runs", node, f"no pod runs there after {seconds:.0f} s", why, remedy)


def _still_asks(node: str, why: str, seconds: float) -> CheckResult:
    what = f"the pod that asks has not ended after {seconds:.0f} s"
    return failed("pod.reaches", node, what, why or "it still asks", "is pod.runs well there?")


def _causes(trial: Trial, said: str) -> Tuple[Tuple[str, str], ...]:
    """Return (node, cause) of what was not reached. A message that is no report is the cause for all."""
    if said.strip() == _OK:
        return ()
    found = []
    for line in said.splitlines():
        index, _, cause = line.partition(" ")
        if index.isdigit() and int(index) < len(trial.nodes) and cause:
            found.append((trial.nodes[int(index)], cause.strip()))
    return tuple(found) or tuple((node, said.strip()) for node in trial.nodes)


def _dns(trial: Trial, node: str, unresolved: Sequence[str]) -> CheckResult:
    check = "pod.dns"
    if not trial.dns:
        what = "names were not tried: the cluster has no Service kube-system/kube-dns"
        return CheckResult(check, node, False, "info", what, remedy="install a DNS if pods need names")
    if not unresolved:
        return passed(check, node, f"{len(trial.nodes)} Service names resolve from there")
    what = f"{len(unresolved)} of {len(trial.nodes)} Service names do not resolve from there"
    seen = f"the Services before {', '.join(unresolved)}"
    remedy = "does CoreDNS run, and is udp/8472 (flannel) open between the hosts?"
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
        return "not asked before the time was up"
    kind, _, said = cause.partition(" ")
    return (f"{said!r} instead of its name" if said else "no answer") if kind == "answer" else cause
