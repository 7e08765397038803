"""Do the hosts reach each other where K3s needs it? All listen, then each connects to the others; nothing stays behind.

Two runs of the host program on each host at most, however many hosts there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from productive_k3s.contract.events import Event, Result
from productive_k3s.verbs.probe import LISTENING, longest_seconds
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.session import Fleet, OnEvent
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.inventory.observed import Listening, Probe

# Until every target listens; the others wait for the last one.
_READY_SECONDS = 30.0
# A source's ports are tried in this time, so many at once that only very large fleets need more.
_TRY_SECONDS = 10.0
# A source may have to open its session anew, then it starts the program.
_SESSION_SECONDS = 20.0
_START_SECONDS = 15.0
# So much later than its deadline a call may come back: the program's own grace, and the travel of its result.
_END_SECONDS = 15.0


@dataclass(frozen=True)
class _Target:
    """A host that is to listen, and how far that is."""

    host: Host
    ports: tuple[str, ...]
    listening: asyncio.Event
    run: asyncio.Task[str]


@dataclass(frozen=True)
class _Answers:
    """What one source found, by address and port; `otherwise` is the cause of what it said nothing about."""

    found: Mapping[str, Mapping[str, str]]
    otherwise: str

    def cause(self, address: str, port: str) -> str:
        return self.found.get(address, {}).get(port, self.otherwise)


async def probe_ports(
    inventory: Inventory, targets: Mapping[str, tuple[str, ...]], fleet: Fleet, listening: tuple[Listening, ...] = ()
) -> tuple[Probe, ...]:
    """Try every port of `targets` (by host name) from all other hosts, and those of `listening` from their sources.

    Targets are hosts that no K3s holds yet: they listen for some seconds through the contract's `probe`. A host whose
    session fails gives a probe with that cause instead of stopping the others.
    """
    # A machine that does not run answers nobody: that says nothing of the way to it.
    hosts = tuple(host for host in inventory.hosts if not host.assumed)
    wanted = [(host, targets[host.name]) for host in hosts if targets.get(host.name)]
    if len(hosts) < 2 or not (wanted or listening):
        return ()
    tries = longest_seconds(sum(len(ports) for _, ports in wanted) + len(listening), _TRY_SECONDS)
    listeners = [_begin(host, ports, _READY_SECONDS + _source_seconds(tries), fleet) for host, ports in wanted]
    try:
        silent = dict(await asyncio.gather(*map(_wait_until_listening, listeners)))
        heard = [target for target in listeners if not silent[target.host.name]]
        answers = await asyncio.gather(*(_connect(source, heard, tries, fleet, listening) for source in hosts))
    finally:
        # Also when nobody waits for the answer any more; the ports are free again once this is over.
        for target in listeners:
            target.run.cancel()
        await asyncio.gather(*(target.run for target in listeners), return_exceptions=True)
    asked = list(zip(hosts, answers, strict=True))
    between = tuple(
        Probe(source.name, host.name, port, silent[host.name] or answer.cause(host.address, port))
        for host, ports in wanted
        for source, answer in asked
        if source.name != host.name
        for port in ports
    )
    through = tuple(
        Probe(source.name, place.name or place.address, place.port, answer.cause(place.address, place.port))
        for source, answer in asked
        for place in listening
        if source.name in place.sources
    )
    return (*between, *through)


def _source_seconds(tries: float) -> float:
    """Return how long one source may take in all: its targets listen so long after the last of them began."""
    return _SESSION_SECONDS + _START_SECONDS + tries + _END_SECONDS


def _begin(host: Host, ports: tuple[str, ...], seconds: float, fleet: Fleet) -> _Target:
    listening = asyncio.Event()

    def hear(event: Event) -> None:
        if event.message == LISTENING:
            listening.set()

    return _Target(host, ports, listening, asyncio.ensure_future(_listen(host, ports, seconds, hear, fleet)))


async def _listen(host: Host, ports: tuple[str, ...], seconds: float, hear: OnEvent, fleet: Fleet) -> str:
    """Listen until it is over; return why it ended, which matters only if it never began."""
    arguments = ("--listen", ",".join(ports), "--seconds", f"{seconds:g}")
    try:
        session = await fleet.session(host.name)
        deadline = seconds + _START_SECONDS
        result = await session.call("probe", arguments=arguments, on_event=hear, deadline_seconds=deadline)
    except Pk3sError as error:
        return str(error)
    return _why(result)


async def _wait_until_listening(target: _Target) -> tuple[str, str]:
    """Return the target's name, and '' or why it does not listen."""
    ready = asyncio.ensure_future(target.listening.wait())
    try:
        await asyncio.wait({target.run, ready}, timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
    name = target.host.name
    if target.listening.is_set():
        return name, ""
    why = target.run.result() if target.run.done() else f"it was not ready within {_READY_SECONDS:g} s"
    return name, f"{name} could not listen: {why}"


async def _connect(
    source: Host, targets: list[_Target], tries: float, fleet: Fleet, listening: tuple[Listening, ...]
) -> _Answers:
    """Try all ports of the targets from one source, in one run. It never lasts longer than the targets listen."""
    others = [target for target in targets if target.host.name != source.name]
    words = [word for other in others for word in ("--connect", other.host.address, ",".join(other.ports))]
    mine = [place for place in listening if source.name in place.sources]
    words += [word for place in mine for word in ("--connect", place.address, place.port)]
    if not words:
        return _Answers({}, "")
    limit = _source_seconds(tries)
    try:
        async with asyncio.timeout(limit):
            session = await fleet.session(source.name)
            result = await session.call(
                "probe",
                arguments=(*words, "--seconds", f"{_TRY_SECONDS:g}"),
                deadline_seconds=_START_SECONDS + tries,
            )
    except Pk3sError as error:
        return _Answers({}, str(error))
    except TimeoutError:
        return _Answers({}, f"{source.name} did not answer within {limit:g} s")
    return _Answers(result.data or {}, _why(result))


def _why(result: Result) -> str:
    if not result.failures:
        return f"the probe ended as {result.outcome}"
    failure = result.failures[0]
    return f"{failure.what} ({failure.evidence})" if failure.evidence else failure.what
