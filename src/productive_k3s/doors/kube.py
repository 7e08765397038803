"""The door to the Kubernetes API: typed calls, and a real implementation over the standard library."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Protocol, Tuple

from productive_k3s.contract.facts import ClusterFacts, NodeFact


class Kube(Protocol):
    """One cluster. What the API refuses, or does not answer in `timeout` seconds, is a ContractError with its cause."""

    async def cluster(self) -> ClusterFacts:
        """Return version and nodes; never raises: an API that is away is `reachable` False with the evidence."""

    async def readiness(self) -> str:
        """Return '' if /readyz says ok, else what it says or why it does not answer; never raises."""

    async def node(self, name: str) -> Optional[NodeFact]: ...

    async def label_node(self, name: str, labels: Mapping[str, Optional[str]]) -> None:
        """Set labels; None removes one. The API remembers that they are ours (`NodeFact.own_labels`)."""

    async def taint_node(self, name: str, patch: Mapping[str, Any]) -> bool:
        """Change taints, and what is noted of them; False where the Node is another one than the patch was made of.

        `patch` is a merge patch with the Node's resourceVersion: taints are one list, which is written as a whole.
        """

    async def cordon(self, name: str, unschedulable: bool) -> None: ...

    async def delete_node(self, name: str) -> None:
        """Delete the Node; no error if it is not there."""

    async def get(self, path: str) -> Mapping[str, Any]:
        """GET an API path; a 404 is {}."""

    async def apply(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Server-side apply with this program as the field manager."""

    async def delete(self, path: str) -> None: ...

    async def evict(self, namespace: str, pod: str) -> str:
        """Ask for an eviction; '' if it was accepted, else the cause (a disruption budget)."""

    async def pods(
        self, namespace: Optional[str] = None, node: Optional[str] = None
    ) -> Tuple[Mapping[str, Any], ...]: ...

    async def log(self, namespace: str, pod: str, *, lines: int) -> str:
        """Return a pod's last lines; '' if its kubelet, which is asked, does not give them. Never raises."""


# Opens the API with the kubeconfig at a path on the host; nothing is read before the first call.
KubeFactory = Callable[[str], Kube]
