"""The door to the Kubernetes API: typed calls. Their real implementation, over the standard library, is `kube_http`.

It has two halves, as the door to a host: `KubeReading` changes nothing, and `Kube` is for `effects` alone.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Protocol, Tuple

from productive_k3s.contract.facts import ClusterFacts, NodeFact


class KubeReading(Protocol):
    """The half of the door to one cluster that changes nothing there.

    What the API refuses, or does not answer in `timeout` seconds, is a ContractError with its cause.
    """

    async def cluster(self) -> ClusterFacts:
        """Return version and nodes; never raises: an API that is away is `reachable` False with the evidence."""

    async def readiness(self) -> str:
        """Return '' if /readyz says ok, else what it says or why it does not answer; never raises."""

    async def node(self, name: str) -> Optional[NodeFact]: ...

    async def get(self, path: str) -> Mapping[str, Any]:
        """GET an API path; a 404 is {}."""

    async def pods(
        self, namespace: Optional[str] = None, node: Optional[str] = None
    ) -> Tuple[Mapping[str, Any], ...]: ...

    async def log(self, namespace: str, pod: str, *, lines: int) -> str:
        """Return a pod's last lines; '' if its kubelet, which is asked, does not give them. Never raises."""


class KubeTrial(KubeReading, Protocol):
    """What a trial may do besides: make and delete what is in namespaces of its own."""

    async def apply(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Server-side apply with this program as the field manager."""

    async def delete(self, path: str) -> None: ...


class Kube(KubeTrial, Protocol):
    """One cluster, to be read and to be changed."""

    async def label_node(self, name: str, labels: Mapping[str, Optional[str]]) -> None:
        """Set labels; None removes one. The API remembers that they are ours (`NodeFact.own_labels`)."""

    async def patch_node(self, name: str, patch: Mapping[str, Any]) -> bool:
        """Change the Node; False where it is another one by now than the patch was made of.

        `patch` is a merge patch with the Node's resourceVersion: what it means depends on what was read.
        """

    async def delete_node(self, name: str) -> None:
        """Delete the Node; no error if it is not there."""

    async def evict(self, namespace: str, pod: str) -> str:
        """Ask for an eviction; '' if it was accepted, else the cause (a disruption budget)."""


# Opens the API with the kubeconfig at a path on the host; nothing is read before the first call.
KubeReadingFactory = Callable[[str], KubeReading]
KubeFactory = Callable[[str], Kube]


class TrialOnly:
    """A cluster of which namespaces with names that begin so may be changed, and nothing else: KubeTrial."""

    def __init__(self, kube: Kube, prefix: str) -> None:
        self._kube = kube
        self._own = tuple(f"{api}/namespaces/{prefix}" for api in ("/api/v1", "/apis/discovery.k8s.io/v1"))

    async def cluster(self) -> ClusterFacts:
        """See KubeReading."""
        return await self._kube.cluster()

    async def readiness(self) -> str:
        """See KubeReading."""
        return await self._kube.readiness()

    async def node(self, name: str) -> Optional[NodeFact]:
        """See KubeReading."""
        return await self._kube.node(name)

    async def get(self, path: str) -> Mapping[str, Any]:
        """See KubeReading."""
        return await self._kube.get(path)

    async def pods(self, namespace: Optional[str] = None, node: Optional[str] = None) -> Tuple[Mapping[str, Any], ...]:
        """See KubeReading."""
        return await self._kube.pods(namespace, node)

    async def log(self, namespace: str, pod: str, *, lines: int) -> str:
        """See KubeReading."""
        return await self._kube.log(namespace, pod, lines=lines)

    async def apply(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """See KubeTrial."""
        return await self._kube.apply(self._allowed(path), document)

    async def delete(self, path: str) -> None:
        """See KubeTrial."""
        await self._kube.delete(self._allowed(path))

    def _allowed(self, path: str) -> str:
        if not path.startswith(self._own) or "/../" in path or path in self._own:
            raise TypeError(f"{path} belongs to no trial")
        return path
