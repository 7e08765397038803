"""The pods of a node go elsewhere, by eviction, so that disruption budgets are kept (Kubernetes, drain a node)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Tuple

from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.doors.kube import Kube, KubeReading
from productive_k3s.effects.nodes import cordon
from productive_k3s.waits.loop import Bounds, Look, wait_until

_POLL_SECONDS = 1.0
_MIRROR = "kubernetes.io/config.mirror"

Pod = Mapping[str, Any]


@dataclass(frozen=True)
class Drained:
    """How many pods were evicted, which of them nobody makes anew, and whether the cordon had to be written."""

    evicted: int
    alone: Tuple[str, ...]
    cordoned: bool


@dataclass
class _Drain:
    """What one drain has seen so far."""

    blocked: Dict[str, str] = field(default_factory=dict)
    alone: Dict[str, None] = field(default_factory=dict)


async def drain(host: Host, kube: Kube, node: NodeFact, timeout: float, *, by_apply: bool = False) -> Drained:
    """Cordon, then evict until no pod is left that could live elsewhere; what stands in the way is a ContractError.

    A node that a person has cordoned is drained all the same, also by an apply, and stays that person's.
    """
    cordoned = await cordon(kube, node.name, by_apply=by_apply)
    seen = _Drain()
    evicted = 0

    async def look(_: float) -> Look[Tuple[Pod, ...]]:
        nonlocal evicted
        pods = pods_to_evict(await kube.pods(node=node.name))
        evicted += await _evict(kube, pods, seen)
        return Look(pods, _still_there(pods, seen) if pods else "")

    drained = await wait_until(host, look, Bounds(timeout, _POLL_SECONDS))
    if not drained.is_done:
        raise ContractError(await _timed_out(kube, node.name, drained.found, seen, timeout))
    return Drained(evicted, tuple(seen.alone), cordoned)


async def _evict(kube: Kube, pods: Tuple[Pod, ...], drain: _Drain) -> int:
    """Ask for the eviction of each pod that is not ending yet; return how many were granted."""
    granted = 0
    drain.blocked.clear()
    for pod in pods:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            continue
        cause = await kube.evict(metadata["namespace"], metadata["name"])
        if cause:
            drain.blocked[_name(pod)] = cause
            continue
        granted += 1
        if not metadata.get("ownerReferences"):
            drain.alone[_name(pod)] = None
    return granted


def pods_to_evict(pods: Tuple[Pod, ...]) -> Tuple[Pod, ...]:
    """PURE: leave out what a drain leaves: pods of daemon sets, mirrors of static pods, and those that have ended."""
    return tuple(pod for pod in pods if not _stays(pod))


def _stays(pod: Pod) -> bool:
    metadata = pod.get("metadata", {})
    owners: List[Mapping[str, Any]] = list(metadata.get("ownerReferences") or ())
    of_daemon_set = any(owner.get("kind") == "DaemonSet" and owner.get("controller") for owner in owners)
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return of_daemon_set or ended or _MIRROR in (metadata.get("annotations") or {})


def _name(pod: Pod) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _still_there(pods: Tuple[Pod, ...], drain: _Drain) -> str:
    if drain.blocked:
        pod, cause = next(iter(drain.blocked.items()))
        return f"{len(pods)} pods are still there; {pod}: {cause}"
    return f"{len(pods)} pods are ending: {', '.join(_name(pod) for pod in pods[:3])}{', ...' if len(pods) > 3 else ''}"


async def _timed_out(kube: KubeReading, name: str, pods: Tuple[Pod, ...], drain: _Drain, timeout: float) -> Failure:
    node = await kube.node(name)
    if drain.blocked:
        evidence = "; ".join(f"{pod}: {cause}" for pod, cause in drain.blocked.items())
        remedy = "give the workload more replicas, or relax its disruption budget, then run it again"
        code = "node.drain-blocked"
    elif node is not None and not node.ready:
        evidence = f"{name} is not Ready, so nothing there can end {', '.join(map(_name, pods))}"
        remedy = "bring the node back, or remove it if it is gone for good"
        code = "node.not-ready"
    else:
        evidence = f"still ending: {', '.join(map(_name, pods))}"
        remedy = "run kubectl describe on these pods (finalizers, long grace periods), or allow more time"
        code = "node.drain-timeout"
    what = f"{name} was not drained within {timeout:.0f} s; it stays cordoned, and takes no new pods"
    return Failure(code, what, evidence, f"{remedy}; or uncordon {name}")
