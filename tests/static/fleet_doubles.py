"""Hosts that answer as a test says: a fleet, its sessions, and every call that was made."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from productive_k3s.contract.events import Event, Result
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.session import OnEvent
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory, Role


@dataclass(frozen=True)
class Call:
    """One call of the contract program on one host. `say` is how the host says something meanwhile."""

    host: str
    verb: str
    document: Mapping[str, Any] | None
    arguments: tuple[str, ...]
    deadline_seconds: float
    say: Callable[[str], None] = field(compare=False, repr=False)


# A result, an error that is raised, or a function of the call that gives or raises one (it may be a coroutine).
Answer = Result | Pk3sError | Callable[[Call], Result | Awaitable[Result]]


class FakeSession:
    """Implements HostSession: the answer is that of the fleet."""

    def __init__(self, fleet: FakeFleet, name: str) -> None:
        self._fleet = fleet
        self._name = name

    @property
    def name(self) -> str:
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
        def say(message: str) -> None:
            if on_event is not None:
                on_event(Event("note", message, 0.0))

        call = Call(self._name, verb, document, arguments, deadline_seconds, say)
        self._fleet.calls.append(call)
        answer = self._fleet.answers[self._name]
        if isinstance(answer, Pk3sError):
            raise answer
        if isinstance(answer, Result):
            return answer
        given = answer(call)
        return await given if inspect.isawaitable(given) else given

    async def close(self) -> None: ...


class FakeFleet:
    """Implements Fleet. A host that is not among `answers` is a mistake of the test; `refuses` fail to connect."""

    def __init__(self, answers: Mapping[str, Answer], refuses: Mapping[str, Pk3sError] | None = None) -> None:
        self.answers = answers
        self.refuses = refuses or {}
        self.calls: list[Call] = []

    async def session(self, host: str) -> FakeSession:
        if host in self.refuses:
            raise self.refuses[host]
        return FakeSession(self, host)

    async def close(self) -> None: ...


def host(name: str, role: Role = "agent", address: str = "", *, assumed: bool = False) -> Host:
    """A host of an inventory; by default its address is made of the digits of its name."""
    number = "".join(letter for letter in name if letter.isdigit()) or "1"
    found = address or f"10.0.0.{'1' if role == 'server' else '2'}{number}"
    return Host(name, role, found, Endpoint(found), assumed=assumed)


def inventory(*hosts: Host) -> Inventory:
    """An inventory of these hosts; without any, one server and two agents."""
    return Inventory("edge", hosts or (host("server-1", "server"), host("agent-1"), host("agent-2")))
