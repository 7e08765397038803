"""One run of the host program over an open channel: lines out, messages in, one result.

It knows nothing of SSH, so the same exchange runs over a local process in tests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from productive_k3s.contract.events import Event, Hello, Result
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.program import Program
from productive_k3s_infra.errors import HostProgramFailed, Pk3sError, SudoRefused
from productive_k3s_infra.hosts.fleet.session import OnEvent
from productive_k3s_infra.hosts.wire import bootstrap, refusals
from productive_k3s_infra.hosts.wire.bootstrap import GRACE_SECONDS, Invocation
from productive_k3s_infra.hosts.wire.reader import Message, Ready, Want, WireReader

_CHUNK_BYTES = 1 << 17
_SAID_LINES = 20
# Beyond the host's own deadline and grace: its answer must travel.
_TRAVEL_SECONDS = 5.0
_STOP_SECONDS = 5.0
# A login, sudo and a Python that starts, on a host that swaps or whose name service does not answer.
BEGIN_SECONDS = 45.0


class ChannelLost(Exception):
    """The way to the host is gone; the text says why."""


class Channel(Protocol):
    """A running command with its three streams. A read at the end is b""; all may raise ChannelLost."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def write_eof(self) -> None: ...

    async def read_output(self, most: int) -> bytes: ...

    async def read_errors(self, most: int) -> bytes: ...

    async def exit_status(self) -> int | None:
        """Wait for the end; None if a signal ended it or nobody knows."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Order:
    """What to run, and as whom.

    With a `password`, sudo's question for it is awaited `prompt_seconds` long. The loader has to run `begin_seconds`
    after the command was started, however long the run itself may take.
    """

    host: str
    user: str
    program: Program
    run: Invocation
    password: Secret | None = None
    prompt_seconds: float = 15.0
    begin_seconds: float = BEGIN_SECONDS


class Exchange:
    """Runs an order over a channel; used once."""

    def __init__(
        self, channel: Channel, order: Order, on_event: OnEvent | None, payload: AsyncIterator[bytes] | None
    ) -> None:
        self._channel = channel
        self._order = order
        self._on_event = on_event
        self._payload = payload
        self._wire = WireReader(order.host)
        self._said: deque[str] = deque(maxlen=_SAID_LINES)
        self._last_word = ""
        self._prompts = 0
        # Once the loader runs, whoever had to let us in has done so, and nobody else's words are taken for its end.
        self._is_begun = False
        self._begun: Callable[[], None] = lambda: None
        self._refused: SudoRefused | None = None
        self._payload_error: Exception | None = None
        self._sending: asyncio.Task[None] | None = None

    async def run(self) -> Result:
        """Return the result; raises HostProgramFailed or SudoRefused. The command has ended, or was told to end."""
        limit = self._order.run.deadline_seconds + GRACE_SECONDS + _TRAVEL_SECONDS
        begin = min(limit, self._order.begin_seconds)
        end = asyncio.get_running_loop().time() + limit
        errors = asyncio.ensure_future(self._read_errors())
        try:
            async with asyncio.timeout(begin) as timeout:
                self._begun = lambda: timeout.reschedule(end)
                return await self._converse(errors)
        except TimeoutError as error:
            if not self._is_begun:
                raise self._not_run(None, begin) from error
            raise HostProgramFailed(
                f"no result within {limit:.0f} s, so it is not known what the host program did",
                where=self._order.host,
                evidence=self._last_word or self._phase(),
                remedy="run pk3s again: it checks the host first and continues from the state there",
            ) from error
        finally:
            await self._end(errors)

    def _phase(self) -> str:
        if self._wire.hello is None:
            return "its Python was started, but the host program was not"
        return "the program started, and reported nothing after that"

    async def _converse(self, errors: asyncio.Task[None]) -> Result:
        no_prompt = None
        if self._order.password is None:
            self._send_loader()
            self._send_order()
        else:
            no_prompt = asyncio.get_running_loop().call_later(self._order.prompt_seconds, self._no_prompt)
        lost = ""
        try:
            await self._read_output()
            if self._wire.result is None:
                await errors
        except ChannelLost as error:
            lost = str(error)
        finally:
            if no_prompt is not None:
                no_prompt.cancel()
        return await self._conclude(lost)

    async def _conclude(self, lost: str) -> Result:
        if self._refused is not None:
            raise self._refused
        if self._wire.result is None and self._payload_error is not None:
            raise self._payload_error
        if self._wire.hello is None and not lost:
            status = await self._channel.exit_status()
            refusal = refusals.explain(self._order.host, self._order.user, status, self._said)
            if refusal is not None:
                raise refusal
            if not self._is_begun:
                raise self._not_run(status, None)
        return self._wire.require_result(lost or (self._said[-1] if self._said else ""))

    def _not_run(self, status: int | None, seconds: float | None) -> Pk3sError:
        said = (*self._wire.noise, *self._said)
        return refusals.not_run(self._order.host, self._order.user, status, said, seconds)

    async def _read_output(self) -> None:
        while self._wire.result is None:
            chunk = await self._channel.read_output(_CHUNK_BYTES)
            if not chunk:
                return
            for message in self._wire.feed(chunk):
                self._hear(message)

    def _hear(self, message: Message) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._begun()
        if isinstance(message, Event):
            self._last_word = message.message
            if self._on_event is not None:
                self._on_event(message)
        elif isinstance(message, Ready) and self._order.password is not None:
            self._send_order()
        elif isinstance(message, Want):
            self._send_program()
        elif isinstance(message, Hello) and self._payload is not None:
            self._sending = asyncio.ensure_future(self._send_payload(self._payload))

    def _write(self, data: bytes) -> None:
        # A command that has ended already cannot be written to; why it ended is on its other streams.
        with suppress(ChannelLost):
            self._channel.write(data)

    def _send_loader(self) -> None:
        self._write(bootstrap.loader_line())

    def _send_order(self) -> None:
        self._write(self._order.run.line(self._order.program))

    def _send_program(self) -> None:
        self._write(bootstrap.program_line(self._order.program))

    async def _send_payload(self, payload: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in payload:
                self._channel.write(chunk)
                await self._channel.drain()
            self._channel.write_eof()
        except ChannelLost:
            return  # whoever reads the output sees it as well
        except Exception as error:  # noqa: BLE001 - the caller's own source failed: handed back as it is
            self._payload_error = error
            self._channel.close()

    async def _read_errors(self) -> None:
        rest = ""
        with suppress(ChannelLost):
            while chunk := await self._channel.read_errors(_CHUNK_BYTES):
                rest += chunk.decode(errors="replace")
                if self._order.password is not None and bootstrap.SUDO_PROMPT in rest:
                    rest = rest.replace(bootstrap.SUDO_PROMPT, "", 1)
                    self._answer_prompt(self._order.password)
                *lines, rest = rest.split("\n")
                self._said.extend(line.strip() for line in lines if line.strip())
        if rest.strip():
            self._said.append(rest.strip())

    def _answer_prompt(self, password: Secret) -> None:
        self._prompts += 1
        if self._prompts == 1:
            self._write(password.unmask().encode() + b"\n")
            self._send_loader()
            return
        self._refused = refusals.wrong_password(self._order.host, self._order.user)
        self._channel.close()

    def _no_prompt(self) -> None:
        if self._prompts == 0:
            self._refused = SudoRefused(
                "sudo neither asks for a password nor runs the command",
                where=self._order.host,
                evidence=self._said[-1] if self._said else "it printed nothing",
                remedy=f"allow the one command without a password: {refusals.sudoers_line(self._order.user)}",
            )
            self._channel.close()

    async def _end(self, errors: asyncio.Task[None]) -> None:
        """End the command in order: the end of its input asks it to stop. Waits a bounded time, also when cancelled."""
        sending = [self._sending] if self._sending is not None else []
        for task in sending:
            task.cancel()
        try:
            with suppress(ChannelLost, TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    if self._wire.result is None:
                        self._channel.write_eof()
                    await self._channel.exit_status()
        finally:
            self._channel.close()
            errors.cancel()
            await asyncio.gather(errors, *sending, return_exceptions=True)
            if isinstance(self._payload, AsyncGenerator):
                await self._payload.aclose()
