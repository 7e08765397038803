"""Hosts that exist: the provider finds them in the cluster file and makes none."""

from __future__ import annotations

from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.inventory.build import declared_location
from productive_k3s_infra.providers.protocol import OnProgress, Survey, SurveyedMachine
from productive_k3s_infra.workspace.directory import Workspace


class OnpremProvider:
    """Implements `Provider` over the declared addresses. Whether a host answers is for its session to say."""

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec

    @classmethod
    def of(cls, spec: ClusterSpec, workspace: Workspace) -> OnpremProvider:
        """Return the provider of a cluster file; it keeps nothing in the cluster directory."""
        del workspace
        return cls(spec)

    async def survey(self) -> Survey:
        """See Provider."""
        machines = (
            SurveyedMachine(node.name, "running", declared_location(self._spec, node)) for node in self._spec.nodes
        )
        return Survey(owns_machines=False, machines=tuple(machines))

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        """Raise ProviderFailed: nothing is ever missing here, so this is never planned."""
        del on_progress
        raise ProviderFailed("on-prem hosts are not made by pk3s", where=", ".join(names), code="onprem.no-machines")

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        """Leave the hosts as they are: they are not ours."""
        del names, on_progress

    async def destroy_all(self, on_progress: OnProgress) -> None:
        """Leave the hosts as they are: they are not ours."""
        del on_progress
