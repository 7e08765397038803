"""`node`: cordon, uncordon, drain or label a node, or remove it from the cluster; from a server host."""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import Failure, bad_input, refused
from productive_k3s.doors.host import Host
from productive_k3s.doors.kube import Kube, KubeReading
from productive_k3s.effects import nodes
from productive_k3s.effects.drain import drain
from productive_k3s.effects.nodes import Labels
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.k3s import paths
from productive_k3s.verbs.token import no_server


async def run(
    host: Host,
    action: str,
    name: str,
    labels: Labels,
    timeout: float,
    *,
    by_apply: bool = False,
    gather: GatherFacts = gather_facts,
) -> Result:
    """Do the action on the node, once: what is so already is left alone.

    With `by_apply` a cordon is noted as an apply's, and `uncordon` lifts such a one alone: everybody else's is a
    person's.
    """
    if await host.system.stat(paths.ADMIN_KUBECONFIG) is None:
        failure = no_server("this command runs on a server", paths.ADMIN_KUBECONFIG)
        return Result("refused", failures=(failure,))
    kube = host.kube(paths.ADMIN_KUBECONFIG)
    node = await kube.node(name)
    if node is None:
        if action == "remove":
            return Result("unchanged", notes=(f"{name} is not a node of this cluster",))
        return Result("failed", failures=(await _no_node(kube, name),))
    if action == "remove":
        return await _remove(host, kube, node, gather)
    if action == "label":
        return await _label(kube, node, labels)
    if action == "drain":
        return await _drain(host, kube, node, timeout, by_apply=by_apply)
    return await (_cordon if action == "cordon" else _uncordon)(kube, node, by_apply=by_apply)


async def _no_node(kube: KubeReading, name: str) -> Failure:
    names = ", ".join(node.name for node in (await kube.cluster()).nodes)
    return bad_input("kube.no-node", f"{name} is not a node of this cluster", f"nodes: {names}", "correct its name")


async def _cordon(kube: Kube, node: NodeFact, *, by_apply: bool) -> Result:
    if not await nodes.cordon(kube, node.name, by_apply=by_apply):
        return Result("unchanged", notes=(f"{node.name} is already cordoned",))
    return Result("done", notes=(f"{node.name} takes no new pods",))


async def _uncordon(kube: Kube, node: NodeFact, *, by_apply: bool) -> Result:
    await nodes.uncordon(kube, node.name, by_apply=by_apply)
    if node.schedulable:
        return Result("unchanged", notes=(f"{node.name} already takes new pods",))
    left = await kube.node(node.name) if by_apply else None
    if left is not None and not left.schedulable:
        return Result("unchanged", notes=(f"{node.name} stays cordoned: a person cordoned it",))
    return Result("done", notes=(f"{node.name} takes new pods",))


async def _label(kube: Kube, node: NodeFact, labels: Labels) -> Result:
    if not labels:
        failure = bad_input("request.flag", "label needs at least one KEY=VALUE or KEY-")
        return Result("failed", failures=(failure,))
    wrong = await nodes.label(kube, node, labels)
    if not wrong:
        return Result("unchanged", notes=(f"{node.name} already has these labels",))
    said = ", ".join(f"{key}={value}" if value is not None else f"{key} is removed" for key, value in wrong.items())
    return Result("done", notes=(f"{node.name}: {said}",))


async def _remove(host: Host, kube: Kube, node: NodeFact, gather: GatherFacts) -> Result:
    """Remove the Node, but not this server's own: that takes its etcd member and leaves its API dead."""
    if (await gather(host)).k3s.node_name != node.name:
        await nodes.remove(kube, node)
        return Result("done", notes=(f"{node.name} is no longer a node",))
    failure = refused(
        "node.own",
        "a server must not remove its own node",
        f"this host is {node.name}",
        "uninstall K3s from this host first, then remove the node on another server",
    )
    return Result("refused", failures=(failure,))


async def _drain(host: Host, kube: Kube, node: NodeFact, timeout: float, *, by_apply: bool) -> Result:
    found = await drain(host, kube, node, timeout, by_apply=by_apply)
    notes = [f"{node.name} is drained, and takes no new pods"]
    if found.alone:
        notes.append(f"nothing recreates these pods: {', '.join(found.alone)}")
    data = {"evicted": found.evicted, "alone": list(found.alone)}
    return Result("done" if found.evicted or found.cordoned else "unchanged", notes=tuple(notes), data=data)
