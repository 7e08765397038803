"""Hosts that answer as a test says: a fleet, its sessions, and every call that was made."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from productive_k3s.contract.events import Event, Result
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.execute.steps.machines import ProviderCalls
from productive_k3s_infra.execute.steps.tokens import TokenSource
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.hosts.fleet.session import Fleet, OnEvent
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory, Location, Role
from productive_k3s_infra.plan.step import Step
from productive_k3s_infra.providers.protocol import OnProgress, Provider, Survey, SurveyedMachine


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


class FakeProvider:
    """Implements Provider over machines that a test names; what is done to them is kept in `calls`.

    Machines that are made run afterwards, at the address that `addresses` has for them. `fails` is raised by what
    changes something.
    """

    def __init__(
        self, survey: Survey, *, fails: Pk3sError | None = None, addresses: Mapping[str, str] | None = None
    ) -> None:
        self.seen = survey
        self.addresses = addresses or {}
        self.fails = fails
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.at_work = 0

    async def survey(self) -> Survey:
        self.calls.append(("survey", ()))
        return self.seen

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        await self._work("create", names, on_progress)
        made = (self._made(one) if one.name in names else one for one in self.seen.machines)
        self.seen = replace(self.seen, machines=tuple(made), resources=())
        return self.seen

    def _made(self, machine: SurveyedMachine) -> SurveyedMachine:
        address = self.addresses.get(machine.name, "127.0.0.1")
        return replace(machine, state="running", location=Location(address, Endpoint(address)))

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        await self._work("destroy", names, on_progress)
        left = (
            replace(one, state="missing", location=None) if one.name in names else one
            for one in self.seen.machines
            if not (one.name in names and one.state == "extra")
        )
        self.seen = replace(self.seen, machines=tuple(left))

    async def destroy_all(self, on_progress: OnProgress) -> None:
        await self._work("destroy_all", (), on_progress)
        self.seen = replace(self.seen, machines=(), shared=())

    async def _work(self, what: str, names: tuple[str, ...], on_progress: OnProgress) -> None:
        self.calls.append((what, names))
        self.at_work += 1
        assert self.at_work == 1, "a provider is asked for one thing at a time"
        try:
            for name in names:
                on_progress(name, f"{what} goes on")
            await asyncio.sleep(0)
            if self.fails is not None:
                raise self.fails
        finally:
            self.at_work -= 1


def tools(fleet: Fleet, provider: Provider | None = None, **parts: Any) -> Tools:
    """What steps are carried out with; the token is asked of server-1."""
    calls = ProviderCalls(provider or FakeProvider(Survey(owns_machines=False, machines=())))
    return Tools(fleet, calls, TokenSource(fleet, "server-1"), **parts)


class Ears:
    """Implements the executor's Listener: keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.ends: list[StepResult] = []

    def step_started(self, step: Step) -> None:
        self.heard.append(f"+{step.id}")

    def step_progressed(self, step: Step, event: Event) -> None:
        self.heard.append(f"{step.id}: {event.message}")

    def step_ended(self, result: StepResult) -> None:
        self.heard.append(f"{result.outcome} {result.step.id}")
        self.ends.append(result)

    def stopping(self, running: tuple[Step, ...]) -> None:
        self.heard.append(f"stopping {', '.join(step.id for step in running)}".strip())


def host(name: str, role: Role = "agent", address: str = "", *, assumed: bool = False) -> Host:
    """A host of an inventory; by default its address is made of the digits of its name."""
    number = "".join(letter for letter in name if letter.isdigit()) or "1"
    found = address or f"10.0.0.{'1' if role == 'server' else '2'}{number}"
    return Host(name, role, found, Endpoint(found), assumed=assumed)


def inventory(*hosts: Host) -> Inventory:
    """An inventory of these hosts; without any, one server and two agents."""
    return Inventory("edge", hosts or (host("server-1", "server"), host("agent-1"), host("agent-2")))
