"""Write a Node's taints: ours as they shall be, everybody else's as they are."""

from __future__ import annotations

from typing import Any, Dict
from urllib.parse import quote

from productive_k3s.contract.failure import ContractError, Failure, bad_input
from productive_k3s.doors.kube import Kube
from productive_k3s.doors.kube_objects import OWN_TAINTS, node_fact
from productive_k3s.plan.node import Taints, own_places, with_taints

# Kubelets and controllers write the Node too, every few seconds at most.
_TRIES = 8


async def set_taints(kube: Kube, name: str, taints: Taints) -> bool:
    """Read the Node, replace ours in its list, note which those are; begin anew if somebody wrote it meanwhile.

    Returns False where the Node has them so already, and nothing was written.
    A Node that is not there, and one that is written again and again, is a ContractError.
    """
    for _ in range(_TRIES):
        node = await kube.get(f"/api/v1/nodes/{quote(name)}")
        if not node:
            raise ContractError(
                bad_input("kube.no-node", f"{name} is no node of this cluster", "it was one before", "run it again")
            )
        spec: Dict[str, Any] = node.get("spec") or {}
        there = list(spec.get("taints") or ())
        wanted = list(with_taints(there, taints))
        ours = own_places(node_fact(node), taints)
        noted = (node["metadata"].get("annotations") or {}).get(OWN_TAINTS)
        if wanted == there and noted == (",".join(ours) or None):
            return False
        patch = {
            "metadata": {
                "resourceVersion": node["metadata"]["resourceVersion"],
                "annotations": {OWN_TAINTS: ",".join(ours) or None},
            },
            "spec": {"taints": wanted},
        }
        if await kube.taint_node(name, patch):
            return True
    raise ContractError(
        Failure(
            "kube.conflict",
            f"the taints of {name} could not be written",
            f"somebody else changed the Node each time, {_TRIES} times",
            "run it again; if that says the same, see who writes it: kubectl get node -o yaml --show-managed-fields",
        )
    )
