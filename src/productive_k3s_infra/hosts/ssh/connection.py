"""SSH connections: one to each host, those to jump hosts shared. Host keys are always verified, errors are ours.

What fails is told of the host where it failed: of a jump host, if it was there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import asyncssh

from productive_k3s_infra.errors import HostKeyMismatch, Pk3sError
from productive_k3s_infra.hosts.ssh import errors
from productive_k3s_infra.hosts.ssh.attempt import Attempt
from productive_k3s_infra.hosts.ssh.channel import LOST, Channel, Sessions
from productive_k3s_infra.hosts.ssh.hops import Hop, way
from productive_k3s_infra.hosts.ssh.host_keys import HostKeys
from productive_k3s_infra.hosts.ssh.identities import identities_of
from productive_k3s_infra.hosts.ssh.proxy_command import ProxyCommand

# Each takes this computer's time; all at once would let the time of the last ones run out. And sshd drops at random
# from the tenth on that has not logged in (MaxStartups): a ProxyCommand may lead all of them through one gate.
_CONNECTING = 8
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Line:
    """An open connection, the sessions on it, and the command that it goes through if there is one."""

    connection: asyncssh.SSHClientConnection
    proxy: ProxyCommand | None = None
    sessions: Sessions = field(default_factory=Sessions)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be started on it any more."""
        return self.connection.is_closed()


@dataclass
class Connections:
    """The open connections by host."""

    host_keys: HostKeys
    connect_seconds: float
    begin_seconds: float
    _open: dict[Hop, Line] = field(default_factory=dict)
    _locks: dict[Hop, asyncio.Lock] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTING))

    async def get(self, hop: Hop, where: str) -> Line:
        """Return the connection to a host, made anew if there is none or it was lost."""
        async with self._locks.setdefault(hop, asyncio.Lock()):
            line = self._open.get(hop)
            if line is None or line.is_closed:
                # Whoever goes through another connection stands behind it: it was opened after it.
                self._open.pop(hop, None)
                line = await self._connect(hop, where)
                self._open[hop] = line
            return line

    async def channel(self, hop: Hop, where: str, command: str) -> Channel:
        """Start a command in a session of its own, as soon as the host has room for one."""
        line = await self.get(hop, where)
        try:
            return await self._start(line, hop, command, where)
        except LOST as error:
            if not line.is_closed:
                raise errors.explained(error, hop, where) from error
        # It was lost while nobody looked, for example by a restart of the host; nothing was started.
        line = await self.get(hop, where)
        try:
            return await self._start(line, hop, command, where)
        except LOST as error:
            raise errors.explained(error, hop, where) from error

    async def drop(self, hop: Hop) -> None:
        """Close the connection to a host if there is one."""
        line = self._open.pop(hop, None)
        if line is not None:
            await _close([line])

    async def close(self) -> None:
        """Close all, those behind a jump host before the one to it; dead ones hold nobody up."""
        depths: dict[int, list[Line]] = {}
        for hop, line in self._open.items():
            depths.setdefault(sum(1 for _ in way(hop)), []).append(line)
        self._open.clear()
        for depth in sorted(depths, reverse=True):
            await _close(depths[depth])

    async def _start(self, line: Line, hop: Hop, command: str, where: str) -> Channel:
        async def start() -> Channel:
            try:
                # The connection stays: others may work on it, and a host that answers no more is seen by keepalives.
                async with asyncio.timeout(self.begin_seconds):
                    return await Channel.start(line.connection, command, line.sessions.ended)
            except TimeoutError as error:
                raise errors.silent_session(hop, where, self.begin_seconds) from error

        return await line.sessions.start(start, where)

    async def _jump(self, hop: Hop, where: str) -> Line:
        try:
            return await self.get(hop, where)
        except Pk3sError as error:
            if error.where == where:  # and not of a jump host before this one, which says so itself
                errors.tell_of_jump_host(error)
            raise

    async def _connect(self, hop: Hop, where: str) -> Line:
        tunnel = (await self._jump(hop.via, hop.behind(where))).connection if hop.via is not None else None
        known = self.host_keys.known(hop)
        async with self._turns, identities_of(hop, where) as identities:
            attempt = Attempt(hop, where, known, identities, hop.config.connect_seconds or self.connect_seconds)
            try:
                line = Line(*await attempt.run(tunnel))
            except HostKeyMismatch:
                if attempt.client.shown is None or not known.is_empty:
                    raise
                unknown = attempt.client.shown
            else:
                self.host_keys.confirm(hop, known, line.connection.get_server_host_key())
                return line
        await self.host_keys.learn(hop, where, unknown)
        return await self._connect(hop, where)


async def _close(lines: list[Line]) -> None:
    for line in lines:
        line.connection.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await asyncio.gather(*(line.connection.wait_closed() for line in lines), return_exceptions=True)
    for line in lines:
        line.connection.abort()
    await asyncio.gather(*(line.proxy.end() for line in lines if line.proxy is not None))
