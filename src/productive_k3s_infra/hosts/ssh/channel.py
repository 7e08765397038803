"""Commands on a host: one channel each, as many at once as the host allows on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import asyncssh

from productive_k3s_infra.errors import HostProgramFailed
from productive_k3s_infra.hosts.wire.exchange import ChannelLost

LOST = (asyncssh.Error, OSError)
_WINDOW_BYTES = 4 << 20
# The others run steps with deadlines of their own; one of them ends long before this.
_TURN_SECONDS = 3600.0
# sshd may notice the end of a session a moment after we do.
_AGAIN_SECONDS = 5.0
_AGAIN_PAUSE = 0.1
T = TypeVar("T")


@dataclass
class Sessions:
    """The sessions on one connection. OpenSSH allows ten (MaxSessions); the limit is learnt when it is met."""

    used: int = 0
    limit: int | None = None
    turn_seconds: float = _TURN_SECONDS
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self, start: Callable[[], Awaitable[T]], where: str) -> T:
        """Start one as soon as there is room; whoever is given it calls `ended` when it is over.

        Raises HostProgramFailed if none of the others ends in time, ChannelOpenError if there is no room for a single
        one, and what `start` raises.
        """
        refused_since: float | None = None
        while True:
            await self._turn(where)
            try:
                return await start()
            except BaseException as error:
                await self.ended()
                if not isinstance(error, asyncssh.ChannelOpenError):
                    raise
                now = asyncio.get_running_loop().time()
                if self.used:
                    self.limit, refused_since = self.used, None
                elif refused_since is None:
                    refused_since = now
                elif now - refused_since > _AGAIN_SECONDS:
                    raise
            if refused_since is not None:
                await asyncio.sleep(_AGAIN_PAUSE)

    async def ended(self) -> None:
        """Make room for another one."""
        async with self._changed:
            self.used -= 1
            self._changed.notify_all()

    async def _turn(self, where: str) -> None:
        try:
            async with asyncio.timeout(self.turn_seconds), self._changed:
                await self._changed.wait_for(lambda: self.limit is None or self.used < self.limit)
                self.used += 1
        except TimeoutError as error:
            raise HostProgramFailed(
                "the host's SSH allows no more sessions, and none of the open ones has ended",
                where=where,
                evidence=f"{self.used} were open for {self.turn_seconds:g} s",
                remedy=(
                    "raise MaxSessions in the host's sshd_config, or check what the open ones are doing there: ps -ef"
                ),
                code="ssh.no-session",
            ) from error


class Channel:
    """A remote command as the exchange wants it."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes], ended: Callable[[], Awaitable[None]]) -> None:
        self._process = process
        self._ended = ended
        self._telling: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, connection: asyncssh.SSHClientConnection, command: str, ended: Callable[[], Awaitable[None]]
    ) -> Channel:
        """Start a command, without a terminal; raises what asyncssh does."""
        process: asyncssh.SSHClientProcess[bytes] = await connection.create_process(
            command, encoding=None, request_pty=False, window=_WINDOW_BYTES
        )
        return cls(process, ended)

    def write(self, data: bytes) -> None:
        """See Channel of the exchange."""
        try:
            self._process.stdin.write(data)
        except LOST as error:
            raise ChannelLost(str(error)) from error

    async def drain(self) -> None:
        """See Channel of the exchange."""
        try:
            await self._process.stdin.drain()
        except LOST as error:
            raise ChannelLost(str(error)) from error

    def write_eof(self) -> None:
        """See Channel of the exchange."""
        with suppress(*LOST):
            self._process.stdin.write_eof()

    async def read_output(self, most: int) -> bytes:
        """See Channel of the exchange."""
        return await _read(self._process.stdout, most)

    async def read_errors(self, most: int) -> bytes:
        """See Channel of the exchange."""
        return await _read(self._process.stderr, most)

    async def exit_status(self) -> int | None:
        """See Channel of the exchange."""
        try:
            await self._process.wait_closed()
        except LOST as error:
            raise ChannelLost(str(error)) from error
        return self._process.exit_status

    def close(self) -> None:
        """See Channel of the exchange."""
        self._process.close()
        if self._telling is None:
            self._telling = asyncio.ensure_future(self._ended())


async def _read(stream: asyncssh.SSHReader[bytes], most: int) -> bytes:
    try:
        return await stream.read(most)
    except LOST as error:
        raise ChannelLost(str(error) or type(error).__name__) from error
