"""Do the hosts reach each other where K3s needs it? One host listens, the others connect; nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from productive_k3s.events import Event, Result
from productive_k3s.verbs.probe import LISTENING
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.session import Fleet, OnEvent
from productive_k3s_infra.inventory.model import Host, Inventory

# K3s requirements page: what must be reachable from whom (embedded etcd's ports come with several servers).
SERVER_PORTS = ("tcp/6443",)
NODE_PORTS = ("tcp/10250", "udp/8472")
_LISTEN_SECONDS = 12
# Each target asks every other host at once, and sshd allows ten sessions on one connection (MaxSessions).
_TARGETS_AT_ONCE = 4
_DEADLINE_SECONDS = 30.0


@dataclass(frozen=True)
class Probe:
    """One attempt: `cause` is '' if `source` reached `target` on `port` ("tcp/6443")."""

    source: str
    target: str
    port: str
    cause: str


async def probe_ports(inventory: Inventory, targets: Mapping[str, tuple[str, ...]], fleet: Fleet) -> tuple[Probe, ...]:
    """Try every port of `targets` (by host name) from every other host of the inventory.

    Targets are hosts that no K3s holds yet: they listen for some seconds through the contract's `probe`. A host whose
    session fails gives a probe with that cause instead of stopping the others.
    """
    turn = asyncio.Semaphore(_TARGETS_AT_ONCE)

    async def in_turn(host: Host) -> list[Probe]:
        async with turn:
            return await _probe_target(inventory, host, targets[host.name], fleet)

    found = await asyncio.gather(*(in_turn(host) for host in inventory.hosts if host.name in targets))
    return tuple(probe for probes in found for probe in probes)


def needed_ports(host: Host) -> tuple[str, ...]:
    """Return the ports that the other nodes must reach on this host (PURE)."""
    return (*SERVER_PORTS, *NODE_PORTS) if host.role == "server" else NODE_PORTS


async def _probe_target(inventory: Inventory, target: Host, ports: tuple[str, ...], fleet: Fleet) -> list[Probe]:
    sources = [host for host in inventory.hosts if host.name != target.name]
    if not sources or not ports:
        return []
    listening = asyncio.Event()

    def heard(event: Event) -> None:
        if event.message == LISTENING:
            listening.set()

    listener = asyncio.ensure_future(_listen(target, ports, heard, fleet))
    ready = asyncio.ensure_future(listening.wait())
    try:
        await asyncio.wait({listener, ready}, timeout=_DEADLINE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not listening.is_set():
            why = listener.result() if listener.done() else f"it was not ready within {_DEADLINE_SECONDS:g} s"
            cause = f"{target.name} could not listen: {why}"
            return [Probe(source.name, target.name, port, cause) for source in sources for port in ports]
        probes = await asyncio.gather(*(_connect(source, target, ports, fleet) for source in sources))
    finally:
        ready.cancel()
        listener.cancel()
        await asyncio.gather(listener, ready, return_exceptions=True)
    return [probe for part in probes for probe in part]


async def _listen(target: Host, ports: tuple[str, ...], heard: OnEvent, fleet: Fleet) -> str:
    """Listen until it is over; return why it ended, which matters only if it never began."""
    arguments = ("--listen", ",".join(ports), "--seconds", str(_LISTEN_SECONDS))
    try:
        session = await fleet.session(target.name)
        result = await session.call("probe", arguments=arguments, on_event=heard, deadline_seconds=_DEADLINE_SECONDS)
    except Pk3sError as error:
        return str(error)
    return _why(result)


def _why(result: Result) -> str:
    if not result.failures:
        return f"the probe ended as {result.outcome}"
    failure = result.failures[0]
    return f"{failure.what} ({failure.evidence})" if failure.evidence else failure.what


async def _connect(source: Host, target: Host, ports: tuple[str, ...], fleet: Fleet) -> list[Probe]:
    try:
        session = await fleet.session(source.name)
        result = await session.call(
            "probe",
            arguments=("--connect", target.address, ",".join(ports)),
            deadline_seconds=_DEADLINE_SECONDS,
        )
    except Pk3sError as error:
        return [Probe(source.name, target.name, port, str(error)) for port in ports]
    answers = result.data or {}
    return [Probe(source.name, target.name, port, str(answers.get(port, _why(result)))) for port in ports]
