"""Hosts in this process: the program's own verbs over given doors, spoken to with the same bytes as over SSH.

For rehearsals and contract tests. The doors may suspend on virtual time; several hosts run in one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from types import coroutine
from typing import Any, cast

from productive_k3s.cli import parser
from productive_k3s.contract.events import Event, Result
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import Host
from productive_k3s.doors.kube import KubeFactory
from productive_k3s.doors.local_files import checksum_failure, what_came
from productive_k3s.doors.pace import GoingOn, nothing_ends_it
from productive_k3s.doors.system import System
from productive_k3s.output import WireOutput
from productive_k3s.verbs.run import run
from productive_k3s_infra.errors import HostProgramFailed
from productive_k3s_infra.hosts.fleet.session import OnEvent
from productive_k3s_infra.hosts.wire import bootstrap
from productive_k3s_infra.hosts.wire.reader import WireReader


class InProcessSession:
    """Implements HostSession over the doors of one host.

    `lost` is asked before each line from the host: once it is true, the rest never arrives, as on a cut connection.
    """

    def __init__(self, name: str, system: System, kube: KubeFactory, lost: Callable[[], bool] = lambda: False) -> None:
        self._name = name
        self._system = system
        self._kube = kube
        self._lost = lost

    @property
    def name(self) -> str:
        """See HostSession."""
        return self._name

    async def call(
        self,
        verb: str,
        document: Mapping[str, Any] | None = None,
        *,
        arguments: tuple[str, ...] = (),
        on_event: OnEvent | None = None,
        deadline_seconds: float = 120.0,
        payload: AsyncIterator[bytes] | None = None,
    ) -> Result:
        """See HostSession. The deadline is that of the event loop's clock."""
        order = bootstrap.invocation(verb, document, arguments, deadline_seconds, has_payload=payload is not None)
        pipe = _Pipe(WireReader(self._name), on_event, self._lost)
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._run(order, pipe, payload)
        except (TimeoutError, BrokenPipeError) as error:
            pipe.wire.require_result(f"{type(error).__name__} after {deadline_seconds:g} s at most")
        return pipe.wire.require_result("")

    async def close(self) -> None:
        """See HostSession."""

    async def _run(self, order: bootstrap.Invocation, pipe: _Pipe, payload: AsyncIterator[bytes] | None) -> None:
        usage = io.StringIO()
        try:
            with contextlib.redirect_stderr(usage):
                flags = parser().parse_args(list(order.arguments))
        except SystemExit as error:
            last = usage.getvalue().strip().rpartition("\n")[2]
            raise HostProgramFailed("the program does not know these flags", where=self._name, evidence=last) from error
        output = WireOutput(cast("Any", pipe))
        output.hello()
        source = _WithPayload(self._system, payload) if payload is not None else None
        system = self._system if source is None else cast("System", source)
        host = Host(system, self._kube, output.event, lambda: "the reader is gone" if output.gone else "")
        result = await _with_document(run(host, flags), order.document)
        if source is not None and source.error is not None:
            raise source.error
        output.result(result)


class _Pipe:
    """The program's standard output: what it writes is read at once."""

    def __init__(self, wire: WireReader, on_event: OnEvent | None, lost: Callable[[], bool]) -> None:
        self.wire = wire
        self._on_event = on_event
        self._lost = lost

    def write(self, text: str) -> int:
        if not self._lost():
            for message in self.wire.feed(text.encode()):
                if isinstance(message, Event) and self._on_event is not None:
                    self._on_event(message)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


class _WithPayload:
    """A System whose standard input is a payload; everything else is the host's own door."""

    def __init__(self, system: System, payload: AsyncIterator[bytes]) -> None:
        self._system = system
        self._payload = payload
        self._held = bytearray()
        # It is the caller's, not the host's: no result may tell of it.
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    async def receive(
        self, path: str, sha256: str, mode: int, size: int | None = None, *, going_on: GoingOn = nothing_ends_it
    ) -> int:
        going_on()
        content = await self._take(size)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ContractError(checksum_failure(what_came(path, len(content), size), found, sha256))
        await self._system.write(path, content, mode)
        return len(content)

    async def skip(self, size: int, *, going_on: GoingOn = nothing_ends_it) -> None:
        going_on()
        await self._take(size)

    async def _take(self, size: int | None) -> bytes:
        try:
            while size is None or len(self._held) < size:
                self._held += await anext(self._payload)
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001 - handed back as it is
            self.error = error
        taken = bytes(self._held[:size])
        del self._held[: len(taken)]
        return taken


@coroutine
def _with_document(started: Any, document: str | None) -> Generator[Any, Any, Any]:
    """Run a coroutine; until it first suspends, standard input is the document. Verbs read it before anything else."""
    steps = started.__await__()
    try:
        with _standard_input(document):
            signal = next(steps)
        while True:
            try:
                sent = yield signal
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the coroutine, which decides
                signal = steps.throw(error)
            else:
                signal = steps.send(sent)
    except StopIteration as finished:
        return finished.value


@contextlib.contextmanager
def _standard_input(document: str | None) -> Iterator[None]:
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO((document or "").encode()), encoding="utf-8")
    try:
        yield
    finally:
        sys.stdin = before
