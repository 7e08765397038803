"""Nodes as the API has them: labels, who takes new pods, and the removal of a node from its cluster."""

from __future__ import annotations

from typing import Dict, Mapping, Optional

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import NodeFact
from productive_k3s.doors.kube import Kube
from productive_k3s.effects.node_patch import patch_node
from productive_k3s.effects.taints import set_taints
from productive_k3s.effects.task import Task
from productive_k3s.k3s import paths
from productive_k3s.plan.cordon import cordon_patch, uncordon_patch
from productive_k3s.plan.node import node_differences

Labels = Mapping[str, Optional[str]]


async def label_own(task: Task, change: Change) -> None:
    """Give this host's Node the labels of the request, as far as they differ by now."""
    labels, _ = node_differences(task.request, await task.gather(task.host))
    if labels:
        await task.host.kube(paths.ADMIN_KUBECONFIG).label_node(change.target, labels)


async def taint_own(task: Task, change: Change) -> None:
    """Give this host's Node the taints of the request, as far as they differ by now."""
    _, taints = node_differences(task.request, await task.gather(task.host))
    if taints is not None:
        await set_taints(task.host.kube(paths.ADMIN_KUBECONFIG), change.target, taints)


async def label(kube: Kube, node: NodeFact, labels: Labels) -> Labels:
    """Set what differs of these labels (None: it goes), and return that."""
    wrong: Dict[str, Optional[str]] = {key: value for key, value in labels.items() if node.labels.get(key) != value}
    if wrong:
        await kube.label_node(node.name, wrong)
    return wrong


async def cordon(kube: Kube, name: str, *, by_apply: bool = False) -> bool:
    """Let a node take no new pods, and note in the same write whose cordon it is; False if it is so already."""
    return await patch_node(kube, name, lambda node: cordon_patch(node, by_apply=by_apply), "the cordon")


async def uncordon(kube: Kube, name: str, *, by_apply: bool = False) -> bool:
    """Let a node take new pods again; False if nothing was written. An apply lifts its own cordon alone."""
    return await patch_node(kube, name, lambda node: uncordon_patch(node, by_apply=by_apply), "the cordon")


async def remove(kube: Kube, node: NodeFact) -> None:
    """Take a node out of its cluster; K3s takes its member of etcd with it (k3s-io/k3s, pkg/etcd)."""
    await kube.delete_node(node.name)
