"""ProxyCommand: a command of the person's shell that stands for a connection, as OpenSSH runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import deque
from contextlib import suppress

_SAID_LINES = 5
_END_SECONDS = 2.0


class ProxyCommand:
    """A running command; `socket` is its standard input and output."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self._process = process
        self.socket = ours
        self._said: deque[str] = deque(maxlen=_SAID_LINES)
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, command: str) -> ProxyCommand:
        """Start it with the person's shell; what it says on standard error is kept as evidence."""
        ours, theirs = socket.socketpair()
        try:
            # ssh_config(5): the command runs with the user's shell, and exec spares a lingering one.
            process = await asyncio.create_subprocess_exec(
                os.environ.get("SHELL") or "/bin/sh",
                "-c",
                f"exec {command}",
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    async def last_words(self) -> str:
        """Return what it said last, once it has ended; '' while it runs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                status = await self._process.wait()
                await asyncio.wait({self._listening})
                return (self._said[-1] if self._said else "") or f"it exited with status {status}"
        return self._said[-1] if self._said else ""

    async def end(self) -> None:
        """End it and whatever it started."""
        self._listening.cancel()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.gather(self._listening, self._process.wait(), return_exceptions=True)

    async def _listen(self) -> None:
        if self._process.stderr is None:
            return
        with suppress(ValueError):  # a line without an end is no evidence
            while line := await self._process.stderr.readline():
                text = line.decode(errors="replace").strip()
                if text:
                    self._said.append(text)
