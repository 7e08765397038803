"""Sessions on one connection within the host's limit, and the end of connections, dead ones too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from productive_k3s_infra.errors import HostProgramFailed
from productive_k3s_infra.hosts.ssh import channel, connection
from productive_k3s_infra.hosts.ssh.channel import Sessions
from productive_k3s_infra.hosts.ssh.client_config import ClientConfig
from productive_k3s_infra.hosts.ssh.connection import Connections, Line
from productive_k3s_infra.hosts.ssh.hops import Hop
from productive_k3s_infra.hosts.ssh.host_keys import HostKeys


@dataclass
class Limited:
    """A host with a limit: a start beyond it is refused as sshd does."""

    most: int
    running: int = 0
    peak: int = 0
    refused: int = 0

    async def start(self) -> str:
        await asyncio.sleep(0)
        if self.running >= self.most:
            self.refused += 1
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        self.running += 1
        self.peak = max(self.peak, self.running)
        return "started"


async def step(sessions: Sessions, host: Limited) -> None:
    await sessions.start(host.start, "host-0")
    await asyncio.sleep(0)
    host.running -= 1
    await sessions.ended()


async def test_steps_wait_for_their_turn() -> None:
    sessions, host = Sessions(), Limited(most=3)
    await asyncio.gather(*(step(sessions, host) for _ in range(30)))
    assert (host.peak, host.running, sessions.used) == (3, 0, 0)
    before = host.refused
    await asyncio.gather(*(step(sessions, host) for _ in range(30)))
    assert host.refused == before, "the limit is known by now"


async def test_no_room_at_all_is_the_hosts_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(channel, "_AGAIN_PAUSE", 0.01)
    sessions, host = Sessions(), Limited(most=0)
    with pytest.raises(asyncssh.ChannelOpenError):
        await sessions.start(host.start, "host-0")
    assert host.refused > 1, "a session that just ended may still be counted there"
    assert sessions.used == 0


async def test_a_turn_that_never_comes_is_said() -> None:
    sessions, host = Sessions(turn_seconds=0.05), Limited(most=1)
    await sessions.start(host.start, "host-0")
    with pytest.raises(HostProgramFailed) as caught:
        await sessions.start(host.start, "host-0")
    assert caught.value.code == "ssh.no-session"
    assert "MaxSessions" in caught.value.remedy
    assert sessions.used == 1


async def test_a_cancelled_start_gives_its_place_back() -> None:
    sessions = Sessions()
    call = asyncio.ensure_future(sessions.start(asyncio.Event().wait, "host-0"))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert sessions.used == 0


@dataclass
class Fake:
    """A connection that ends only once all of its kind were told to."""

    together: asyncio.Barrier
    log: list[str] = field(default_factory=list)
    name: str = ""
    aborted: bool = False

    def is_closed(self) -> bool:
        return False

    def close(self) -> None:
        self.log.append(f"close {self.name}")

    def abort(self) -> None:
        self.aborted = True

    async def wait_closed(self) -> None:
        await self.together.wait()
        self.log.append(f"closed {self.name}")


def hop(name: str, via: Hop | None = None) -> Hop:
    return Hop(name, "ops", 22, ClientConfig(name, "ops", 22), via=via)


def connections(open_: dict[Hop, Any]) -> Connections:
    keys = HostKeys(Path("none"), lambda *_: False, asyncio.Lock())
    return Connections(keys, 1.0, 1.0, _open={at: Line(fake) for at, fake in open_.items()})


async def test_all_are_closed_at_once_and_jump_hosts_last() -> None:
    """One after the other, the first would wait for the others for ever."""
    log: list[str] = []
    gate, behind = hop("gate"), asyncio.Barrier(3)
    made = {hop(name, gate): Fake(behind, log, name) for name in "abc"}
    first = {gate: Fake(asyncio.Barrier(1), log, "gate")}
    async with asyncio.timeout(4):
        await connections({**first, **made}).close()
    assert set(log[:3]) == {"close a", "close b", "close c"}
    assert log[-2:] == ["close gate", "closed gate"]


async def test_dead_ones_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CLOSE_SECONDS", 0.05)
    made = {hop(str(n)): Fake(asyncio.Barrier(99), name=str(n)) for n in range(20)}
    async with asyncio.timeout(10):
        await connections(made).close()
    assert all(fake.aborted for fake in made.values())
