"""Write a Node for exactly the state of it that was read: whoever else writes it meanwhile is not written over."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional
from urllib.parse import quote

from productive_k3s.contract.failure import ContractError, Failure, bad_input
from productive_k3s.doors.kube import Kube

Node = Mapping[str, Any]
Patch = Dict[str, Any]

# Kubelets and controllers write the Node too, every few seconds at most.
_TRIES = 8


async def patch_node(kube: Kube, name: str, wanted: Callable[[Node], Optional[Patch]], what: str) -> bool:
    """Read the Node and write the patch that it `wanted`; begin anew if somebody wrote it meanwhile.

    Returns False where it wants none, and nothing was written. `what` says in words what could not be written.
    A Node that is not there, and one that is written again and again, is a ContractError.
    """
    for _ in range(_TRIES):
        node = await kube.get(f"/api/v1/nodes/{quote(name)}")
        if not node:
            raise ContractError(
                bad_input("kube.no-node", f"{name} is not a node of this cluster", "it was one before", "run it again")
            )
        patch = wanted(node)
        if patch is None:
            return False
        metadata = {**patch.get("metadata", {}), "resourceVersion": node["metadata"]["resourceVersion"]}
        if await kube.patch_node(name, {**patch, "metadata": metadata}):
            return True
    raise ContractError(
        Failure(
            "kube.conflict",
            f"{what} of {name} could not be written",
            f"something else changed the Node each time, {_TRIES} times",
            "run it again; if it fails again, find out what writes it: kubectl get node -o yaml --show-managed-fields",
        )
    )
