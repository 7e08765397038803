"""Hosts that exist: the provider finds them in the cluster file and makes none."""

from __future__ import annotations

import asyncio

from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.inventory.build import LoginOf, declared_location
from productive_k3s_infra.providers.protocol import OnProgress, Survey, SurveyedMachine


class OnpremProvider:
    """Implements `Provider` over the declared addresses. Whether a host answers is for its session to say."""

    def __init__(self, spec: ClusterSpec, login_of: LoginOf) -> None:
        self._spec = spec
        self._login_of = login_of

    async def survey(self) -> Survey:
        """See Provider. What the cluster file does not say of a login, the OpenSSH configuration here may say."""
        nodes = self._spec.nodes
        found = await asyncio.gather(
            *(asyncio.to_thread(declared_location, self._spec, node, self._login_of) for node in nodes)
        )
        machines = (SurveyedMachine(node.name, "running", there) for node, there in zip(nodes, found, strict=True))
        return Survey(owns_machines=False, machines=tuple(machines))

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        """Raise ProviderFailed: nothing is ever missing here, so this is never planned."""
        del on_progress
        raise ProviderFailed("on-prem hosts are not created by pk3s", where=", ".join(names), code="onprem.no-machines")

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        """Leave the hosts as they are: they are not ours."""
        del names, on_progress

    async def destroy_all(self, on_progress: OnProgress) -> None:
        """Leave the hosts as they are: they are not ours."""
        del on_progress
