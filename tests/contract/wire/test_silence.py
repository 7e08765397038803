"""Hosts that fall silent: wherever it happens, whoever asks all hosts is told in time which one, and in which phase."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from sshd_bed import USER, Server, Site, site

pytestmark = pytest.mark.contract
# Far below what keepalives and the deadline of facts take, far above what this computer needs.
PATIENCE = 30.0
BEGIN = 2.0
_WHO_MAY_LOG_IN = {"AuthorizedKeysCommand": "/bin/sleep 60", "AuthorizedKeysCommandUser": USER}


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with site(tmp_path) as made:
        yield made


def to(bed: Site, server: Server) -> Endpoint:
    return Endpoint(server.address, USER, server.port, str(bed.key), (server.host_key,))


async def asked(fleet: SshFleet, endpoint: Endpoint) -> Pk3sError:
    """Return what is told of the host, which is asked for its facts as plan, status and apply do."""
    inventory = Inventory("bed", (Host("host-0", "server", endpoint.address, endpoint),))
    async with asyncio.timeout(PATIENCE):
        observed = await gather(inventory, fleet)
    error = observed.unreachable["host-0"]
    assert error.where == "host-0"
    assert error.remedy
    return error


async def test_after_the_key_exchange(bed: Site) -> None:
    """Its sshd waits for a command that shall say who may log in."""
    server = bed.start("one", AuthorizedKeysFile="none", **_WHO_MAY_LOG_IN)
    bed.configure("")
    fleet = bed.fleet(to(bed, server), seconds=BEGIN)
    try:
        error = await asked(fleet, to(bed, server))
    finally:
        await fleet.close()
    assert error.code == "ssh.timeout"
    assert f"accepted the connection, but did not complete the login within {BEGIN:g} s" in error.evidence


async def test_after_the_login(bed: Site) -> None:
    """Its sshd is stopped: the connection stands, and neither gives nor refuses a session."""
    server = bed.start("one")
    bed.configure("")
    async with bed.opened(to(bed, server), begin=BEGIN) as fleet:
        for pid in family(server):
            os.kill(pid, signal.SIGSTOP)
        error = await asked(fleet, to(bed, server))
    assert error.code == "ssh.no-session"
    assert f"{server.port} neither opened nor refused one within {BEGIN:g} s" in error.evidence
    assert "nothing was started" in error.what


async def test_before_our_command(bed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shell sleeps: no deadline of the run is waited for, as the run has not begun."""
    monkeypatch.setattr("productive_k3s_infra.hosts.wire.exchange._STOP_SECONDS", 0.2)
    server = bed.start("one", ForceCommand="exec sleep 60")
    bed.configure("")
    async with bed.opened(to(bed, server), begin=BEGIN) as fleet:
        error = await asked(fleet, to(bed, server))
    assert error.code == "host.not-run"
    assert f"it had not finished after {BEGIN:.0f} s" in error.evidence


def family(server: Server) -> list[int]:
    """Return the processes of a server's connections, and theirs."""
    found = server.children()
    for pid in found:
        found.extend(int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found
