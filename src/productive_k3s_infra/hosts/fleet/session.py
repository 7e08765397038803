"""The seam to a host: a verb and a document go in, events come out, and one result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from productive_k3s.contract.events import Event, Result

OnEvent = Callable[[Event], None]


class HostSession(Protocol):
    """An open way to one host. What fails on the way is a Pk3sError with the host in `where`."""

    @property
    def name(self) -> str:
        """The host's name in the inventory."""
        ...

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
        """Run one verb of the contract program on the host and return its result.

        `document` goes to standard input as JSON (it may hold secrets), `arguments` are flags without secrets,
        `payload` is an artefact's content for `stage`. A result with a failed outcome is returned, not raised.
        Raises HostProgramFailed when the program gives no result before the connection or the deadline ends.
        """
        ...

    async def close(self) -> None: ...


class Fleet(Protocol):
    """The sessions of an inventory, opened when first used."""

    async def session(self, host: str) -> HostSession:
        """Return the open session of a host; raises HostUnreachable, HostKeyMismatch, AuthenticationRefused."""
        ...

    async def close(self) -> None: ...
