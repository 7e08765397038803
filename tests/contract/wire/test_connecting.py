"""Many hosts at once: so many connections are made at a time as this computer can finish in time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.ssh import connection
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from sshd_bed import USER, Site, free_port, site

pytestmark = pytest.mark.contract
HOSTS = 40


async def test_hosts_are_not_all_connected_at_once(tmp_path: Path) -> None:
    """Hosts that take a connection and say nothing: how many wait at once is seen by them."""
    open_now, peak, seen = 0, 0, 0

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, peak, seen
        open_now, seen = open_now + 1, seen + 1
        peak = max(peak, open_now)
        while await reader.read(1024):
            pass
        open_now -= 1
        writer.close()

    with site(tmp_path) as made:
        made.configure("", knows="")
        fleet, inventory = fleet_of(made, port := free_port())
        server = await asyncio.start_server(hold, "127.0.0.1", port)
        try:
            observed = await gather(inventory, fleet)
        finally:
            await fleet.close()
            server.close()
            await server.wait_closed()
    assert {error.code for error in observed.unreachable.values()} == {"ssh.timeout"}
    assert len(observed.unreachable) == HOSTS
    assert 1 < peak <= connection._CONNECTING < seen


def fleet_of(made: Site, port: int) -> tuple[SshFleet, Inventory]:
    key = str(made.key)
    hosts = tuple(
        Host(f"host-{n}", "agent", "127.0.0.1", Endpoint("127.0.0.1", f"{USER}{n}", port, key)) for n in range(HOSTS)
    )
    inventory = Inventory("bed", hosts)
    return made.fleet(*(host.endpoint for host in hosts), seconds=1.0), inventory
