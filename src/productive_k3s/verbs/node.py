"""`node`: cordon, uncordon, drain, delete or label a node, from a server host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.doors.kube import Kube
from productive_k3s.effects.install import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.k3s import paths
from productive_k3s.verbs.token import no_server
from productive_k3s.waits.loop import Bounds, Look, wait_until

_POLL_SECONDS = 1.0
_MIRROR = "kubernetes.io/config.mirror"

Pod = Mapping[str, Any]


async def run(
    host: Host,
    action: str,
    name: str,
    labels: Mapping[str, Optional[str]],
    timeout: float,
    *,
    gather: GatherFacts = gather_facts,
) -> Result:
    """Do the action on the node, once: what is so already is left alone."""
    if await host.system.stat(paths.ADMIN_KUBECONFIG) is None:
        failure = no_server("nodes are acted on from a server", paths.ADMIN_KUBECONFIG)
        return Result("refused", failures=(failure,))
    kube = host.kube(paths.ADMIN_KUBECONFIG)
    node = await kube.node(name)
    if action == "delete":
        return await _delete(host, kube, name, node, gather)
    if node is None:
        return Result("failed", failures=(await _no_node(kube, name),))
    if action == "label":
        return await _label(kube, node, labels)
    if action == "drain":
        return await _drain(host, kube, node, timeout)
    return await _cordon(kube, node, unschedulable=action == "cordon")


async def _no_node(kube: Kube, name: str) -> Failure:
    names = ", ".join(node.name for node in (await kube.cluster()).nodes)
    return Failure("kube.no-node", f"{name} is no node of this cluster", f"nodes: {names}", "correct its name", 2)


async def _cordon(kube: Kube, node: NodeFact, *, unschedulable: bool) -> Result:
    if node.schedulable is not unschedulable:
        return Result("unchanged", notes=(f"{node.name} is {'un' if unschedulable else ''}schedulable already",))
    await kube.cordon(node.name, unschedulable)
    return Result("done", notes=(f"{node.name} takes {'no new' if unschedulable else 'new'} pods",))


async def _label(kube: Kube, node: NodeFact, labels: Mapping[str, Optional[str]]) -> Result:
    if not labels:
        failure = Failure("request.flag", "label wants at least one KEY=VALUE or KEY-", exit_code=2)
        return Result("failed", failures=(failure,))
    wrong: Dict[str, Optional[str]] = {key: value for key, value in labels.items() if node.labels.get(key) != value}
    if not wrong:
        return Result("unchanged", notes=(f"{node.name} has these labels already",))
    await kube.label_node(node.name, wrong)
    said = ", ".join(f"{key}={value}" if value is not None else f"{key} goes" for key, value in wrong.items())
    return Result("done", notes=(f"{node.name}: {said}",))


async def _delete(host: Host, kube: Kube, name: str, node: Optional[NodeFact], gather: GatherFacts) -> Result:
    """Delete the Node, but not this server's own: that takes its etcd member and leaves its API dead (k3s-observed)."""
    if node is None:
        return Result("unchanged", notes=(f"{name} is no node of this cluster",))
    if (await gather(host)).k3s.node_name == name:
        return Result(
            "refused",
            failures=(
                Failure(
                    "node.own",
                    "a server must not delete its own node",
                    f"this host is {name}",
                    "remove K3s from this host first, then delete the node from another server",
                    4,
                ),
            ),
        )
    await kube.delete_node(name)
    return Result("done", notes=(f"{name} is no node any more",))


@dataclass
class _Drain:
    """What one drain has seen so far."""

    blocked: Dict[str, str] = field(default_factory=dict)
    alone: Dict[str, None] = field(default_factory=dict)


async def _drain(host: Host, kube: Kube, node: NodeFact, timeout: float) -> Result:
    """Cordon, then evict until no pod is left that could live elsewhere; what stands in the way is named at the end."""
    if node.schedulable:
        await kube.cordon(node.name, True)
    drain = _Drain()
    evicted = 0

    async def look(_: float) -> Look[Tuple[Pod, ...]]:
        nonlocal evicted
        pods = pods_to_evict(await kube.pods(node=node.name))
        evicted += await _evict(kube, pods, drain)
        return Look(pods, _still_there(pods, drain) if pods else "")

    drained = await wait_until(host, look, Bounds(timeout, _POLL_SECONDS))
    if not drained.is_done:
        raise ContractError(await _timed_out(kube, node.name, drained.found, drain, timeout))
    notes = [f"{node.name} is drained"]
    if drain.alone:
        notes.append(f"nobody makes these anew: {', '.join(drain.alone)}")
    return Result("done" if evicted or node.schedulable else "unchanged", notes=tuple(notes))


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
    return f"{len(pods)} pods end: {', '.join(_name(pod) for pod in pods[:3])}{', ...' if len(pods) > 3 else ''}"


async def _timed_out(kube: Kube, name: str, pods: Tuple[Pod, ...], drain: _Drain, timeout: float) -> Failure:
    node = await kube.node(name)
    if drain.blocked:
        evidence = "; ".join(f"{pod}: {cause}" for pod, cause in drain.blocked.items())
        remedy = "give the workload more replicas, or relax its disruption budget, then run it again"
        code = "node.drain-blocked"
    elif node is not None and not node.ready:
        evidence = f"{name} is not Ready, so nobody ends {', '.join(map(_name, pods))}"
        remedy = "bring the node back, or delete it if it is gone for good"
        code = "node.not-ready"
    else:
        evidence = f"still ending: {', '.join(map(_name, pods))}"
        remedy = "see kubectl describe of these pods (finalizers, long grace periods), or give it more time"
        code = "node.drain-timeout"
    return Failure(code, f"{name} was not drained within {timeout:.0f} s; it takes no new pods", evidence, remedy)
