"""PURE: what is the matter with a pod, in words, and are K3s' own pods well?"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from productive_k3s.checks.judgement import failed, passed
from productive_k3s.contract.events import CheckResult

Pod = Mapping[str, Any]
SYSTEM_NAMESPACE = "kube-system"
# Reasons of a waiting container that say nothing but that it begins.
_BEGINNING = ("ContainerCreating", "PodInitializing")


def name_of(pod: Pod) -> str:
    """Return namespace/name."""
    metadata = pod.get("metadata", {})
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def trouble(pod: Pod) -> str:
    """Return why the pod does not serve, '' if it does, has done its work, or is going."""
    status = pod.get("status", {})
    phase = status.get("phase", "")
    if pod.get("metadata", {}).get("deletionTimestamp") or phase == "Succeeded":
        return ""
    if phase == "Failed":
        return _said("Failed", status.get("reason", ""), status.get("message", "")) + _exits(status)
    conditions = {item.get("type"): item for item in status.get("conditions", ())}
    ready = conditions.get("Ready", {})
    if phase == "Running" and ready.get("status") == "True":
        return ""
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in _BEGINNING:
            last = container.get("lastState", {}).get("terminated", {})
            exited = f" (exit code {last['exitCode']})" if "exitCode" in last else ""
            said = _said(container.get("name", ""), waiting.get("reason", ""), waiting.get("message", ""))
            return f"{said}{exited}"
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return _said("not scheduled", scheduled.get("reason", ""), scheduled.get("message", ""))
    return _said(f"{phase or 'Pending'}, not ready", ready.get("reason", ""), ready.get("message", ""))


def warnings(events: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return the last warning on each object, by its name: what a pod waits for stands there, not in the pod."""
    found: Dict[str, Tuple[str, str]] = {}
    for event in events:
        name, when = str(event.get("involvedObject", {}).get("name", "")), str(event.get("lastTimestamp") or "")
        if event.get("type") == "Warning" and when >= found.get(name, ("", ""))[0]:
            found[name] = (when, _said(event.get("reason", ""), event.get("message", "")))
    return {name: said for name, (_, said) in found.items()}


def _containers(status: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _exits(status: Mapping[str, Any]) -> str:
    ended = [(item.get("name", ""), item.get("state", {}).get("terminated", {})) for item in _containers(status)]
    return "".join(
        f"; {name} ended with {end['exitCode']} ({end.get('reason', '')})" for name, end in ended if end.get("exitCode")
    )


def _said(*words: str) -> str:
    return ": ".join(word for word in words if word)


def system_troubles(pods: Sequence[Pod], *, dns: bool) -> Tuple[Tuple[str, str], ...]:
    """Return (pod, trouble) of K3s' own pods. `dns`: CoreDNS is not switched off, so a pod of it must be there.

    A pod that failed while its controller has one that serves is history (an eviction, a first try of a Job).
    """
    serving = {owner for pod in pods if not trouble(pod) for owner in _owners(pod)}
    found = [
        (name_of(pod), trouble(pod))
        for pod in pods
        if trouble(pod) and not (pod.get("status", {}).get("phase") == "Failed" and _owners(pod) & serving)
    ]
    # CoreDNS' pods carry this label in K3s' manifest (k3s-io/k3s, manifests/coredns.yaml).
    if dns and not any(pod.get("metadata", {}).get("labels", {}).get("k8s-app") == "kube-dns" for pod in pods):
        found.append((f"{SYSTEM_NAMESPACE}/coredns", "there is no pod of CoreDNS"))
    return tuple(found)


def _owners(pod: Pod) -> frozenset[str]:
    return frozenset(str(item.get("uid")) for item in pod.get("metadata", {}).get("ownerReferences", ()))


def judge_system_pods(
    pods: Sequence[Pod], events: Mapping[str, str], seconds: float, *, dns: bool
) -> Tuple[CheckResult, ...]:
    """Return one check for all of them, or one for each that is in trouble. `events` are warnings by pod name."""
    troubles = system_troubles(pods, dns=dns)
    if not troubles:
        return (passed("system.pods", SYSTEM_NAMESPACE, f"{len(pods)} pods run or are done"),)
    return tuple(
        failed(
            "system.pods",
            name,
            f"does not run after {seconds:.0f} s",
            with_warning(why, events.get(name.partition("/")[2], "")),
            f"kubectl -n {SYSTEM_NAMESPACE} describe pod {name.partition('/')[2]}, on a server",
        )
        for name, why in troubles
    )


def with_warning(why: str, warning: str) -> str:
    """Return both, the warning first: it comes nearer to the cause."""
    return f"{warning} ({why})" if warning else why
