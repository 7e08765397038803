"""PURE: are K3s' own pods well?"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Sequence, Tuple

from productive_k3s.checks.judgement import failed, passed
from productive_k3s.contract.events import CheckResult
from productive_k3s.facts.pods import Pod, name_of, said, trouble

SYSTEM_NAMESPACE = "kube-system"


def warnings(events: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return the last warning on each object, by its name: what a pod waits for stands there, not in the pod."""
    found: Dict[str, Tuple[str, str]] = {}
    for event in events:
        name, when = str(event.get("involvedObject", {}).get("name", "")), str(event.get("lastTimestamp") or "")
        if event.get("type") == "Warning" and when >= found.get(name, ("", ""))[0]:
            found[name] = (when, said(event.get("reason", ""), event.get("message", "")))
    return {name: words for name, (_, words) in found.items()}


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
        found.append((f"{SYSTEM_NAMESPACE}/coredns", "there is no CoreDNS pod"))
    return tuple(found)


def _owners(pod: Pod) -> frozenset[str]:
    return frozenset(str(item.get("uid")) for item in pod.get("metadata", {}).get("ownerReferences", ()))


def judge_system_pods(
    pods: Sequence[Pod], events: Mapping[str, str], seconds: float, *, dns: bool
) -> Tuple[CheckResult, ...]:
    """Return one check for all of them, or one for each that is in trouble. `events` are warnings by pod name."""
    troubles = system_troubles(pods, dns=dns)
    if not troubles:
        return (passed("system.pods", SYSTEM_NAMESPACE, f"{len(pods)} pods are running or have completed"),)
    return tuple(
        failed(
            "system.pods",
            name,
            f"is not running after {seconds:.0f} s",
            with_warning(why, events.get(name.partition("/")[2], "")),
            f"kubectl -n {SYSTEM_NAMESPACE} describe pod {name.partition('/')[2]}, on a server",
        )
        for name, why in troubles
    )


def with_warning(why: str, warning: str) -> str:
    """Return both, the warning first: it comes nearer to the cause."""
    return f"{warning} ({why})" if warning else why
