"""PURE: what the API says of a pod, in words."""

from __future__ import annotations

from typing import Any, List, Mapping

Pod = Mapping[str, Any]
# Reasons of a waiting container that say nothing but that it begins.
_BEGINNING = ("ContainerCreating", "PodInitializing")


def name_of(pod: Pod) -> str:
    """Return namespace/name."""
    metadata = pod.get("metadata", {})
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def uid_of(pod: Pod) -> str:
    """Return what no other pod ever has: one that is made anew under the same name has another."""
    return str(pod.get("metadata", {}).get("uid", ""))


def is_ready(pod: Pod) -> bool:
    """Whether it serves."""
    status = pod.get("status", {})
    conditions = {item.get("type"): item.get("status") for item in status.get("conditions", ())}
    return status.get("phase") == "Running" and conditions.get("Ready") == "True"


def trouble(pod: Pod) -> str:
    """Return why the pod does not serve, '' if it does, has done its work, or is going."""
    status = pod.get("status", {})
    phase = status.get("phase", "")
    if pod.get("metadata", {}).get("deletionTimestamp") or phase == "Succeeded":
        return ""
    if phase == "Failed":
        return said("Failed", status.get("reason", ""), status.get("message", "")) + _exits(status)
    conditions = {item.get("type"): item for item in status.get("conditions", ())}
    ready = conditions.get("Ready", {})
    if is_ready(pod):
        return ""
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in _BEGINNING:
            last = container.get("lastState", {}).get("terminated", {})
            exited = f" (exit code {last['exitCode']})" if "exitCode" in last else ""
            words = said(container.get("name", ""), waiting.get("reason", ""), waiting.get("message", ""))
            return f"{words}{exited}"
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return said("not scheduled", scheduled.get("reason", ""), scheduled.get("message", ""))
    return said(f"{phase or 'Pending'}, not ready", ready.get("reason", ""), ready.get("message", ""))


def _containers(status: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _exits(status: Mapping[str, Any]) -> str:
    ended = [(item.get("name", ""), item.get("state", {}).get("terminated", {})) for item in _containers(status)]
    return "".join(
        f"; {name} ended with {end['exitCode']} ({end.get('reason', '')})" for name, end in ended if end.get("exitCode")
    )


def said(*words: str) -> str:
    """Return the words that say something, one after the other."""
    return ": ".join(word for word in words if word)
