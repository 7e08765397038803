"""The first words with a new instance: it gets a host key of its own, and that one is pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.hosts.fleet.gathering import failed
from productive_k3s_infra.hosts.fleet.session import HostSession
from productive_k3s_infra.hosts.ssh.first_contact import (
    OpenFleet,
    Patience,
    fleet_of_endpoints,
    identify,
    wait_for_machine,
)
from productive_k3s_infra.inventory.model import Endpoint, Location
from productive_k3s_infra.providers.aws.host_keys import HostKeys

_CALL_SECONDS = 60.0
# A server that reloads may show its old key for a moment.
_RELOAD_SECONDS = 20.0


@dataclass(frozen=True)
class FirstContact:
    """Makes a new instance one that only its own key speaks for. Can be cut off anywhere and done again."""

    keys: HostKeys
    patience: Patience
    open_fleet: OpenFleet = fleet_of_endpoints

    async def meet(self, name: str, instance_id: str, location: Location, say: Callable[[str], None]) -> None:
        """Wait for the machine, and if it still has the key that it was made with, replace that."""
        await wait_for_machine(name, location.endpoint, say=say, patience=self.patience, open_fleet=self.open_fleet)
        if self.keys.seeded(name) is not None:
            await self._rotate(name, instance_id, location, say)
        say(f"answers on {location.endpoint.address}")

    async def _rotate(self, name: str, instance_id: str, location: Location, say: Callable[[str], None]) -> None:
        say("gets a host key of its own")
        endpoint = location.endpoint
        fleet = self.open_fleet({name: endpoint})
        try:
            session = await fleet.session(name)
            public = await self._ask(session, "--prepare")
            self.keys.pin(instance_id, [(endpoint.address, endpoint.port)], public)
            await self._ask(session, "--rotate")
        finally:
            await fleet.close()
        await self._until_it_uses(name, replace(endpoint, host_keys=(public,)))
        self.keys.confirmed(name)

    async def _until_it_uses(self, name: str, endpoint: Endpoint) -> None:
        deadline = asyncio.get_running_loop().time() + _RELOAD_SECONDS
        while (await identify({name: endpoint}, self.open_fleet))[name] != "proven":
            if asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(self.patience.pause)
                continue
            raise ProviderFailed(
                f"the host does not use its new host key after {_RELOAD_SECONDS:g} s",
                where=name,
                evidence=f"{endpoint} still presents another key",
                remedy="run it again; if that does not help, reload its SSH server manually",
                code="aws.host-key",
            )

    async def _ask(self, session: HostSession, step: str) -> str:
        result = await session.call("host-key", arguments=(step,), deadline_seconds=_CALL_SECONDS)
        if result.outcome not in {"done", "unchanged"} or not result.data:
            raise failed(session.name, result)
        return str(result.data["public"])
