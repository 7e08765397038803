"""Write a Node's taints: ours as they shall be, everybody else's as they are."""

from __future__ import annotations

from typing import Any, Dict, Optional

from productive_k3s.doors.kube import Kube
from productive_k3s.doors.kube_objects import OWN_TAINTS, node_fact
from productive_k3s.effects.node_patch import Node, Patch, patch_node
from productive_k3s.plan.node import Taints, own_places, with_taints


async def set_taints(kube: Kube, name: str, taints: Taints) -> bool:
    """Replace ours in the Node's list, and note which those are.

    Returns False where the Node has them so already, and nothing was written.
    A Node that is not there, and one that is written again and again, is a ContractError.
    """

    def wanted(node: Node) -> Optional[Patch]:
        return _patch(node, taints)

    return await patch_node(kube, name, wanted, "the taints")


def _patch(node: Node, taints: Taints) -> Optional[Patch]:
    spec: Dict[str, Any] = node.get("spec") or {}
    there = list(spec.get("taints") or ())
    wanted = list(with_taints(there, taints))
    ours = ",".join(own_places(node_fact(node), taints)) or None
    noted = (node["metadata"].get("annotations") or {}).get(OWN_TAINTS)
    if wanted == there and noted == ours:
        return None
    return {"metadata": {"annotations": {OWN_TAINTS: ours}}, "spec": {"taints": wanted}}
