"""Who reaches whom: all listen, each connects to the others, and whatever fails names itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s.doors.system import Port, RemotePort
from productive_k3s.verbs.probe import longest_seconds, parse_ports
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.hosts.fleet import probing
from productive_k3s_infra.hosts.fleet.in_process import InProcessSession
from productive_k3s_infra.hosts.fleet.probing import probe_ports
from productive_k3s_infra.hosts.fleet.session import HostSession
from productive_k3s_infra.hosts.wire.bootstrap import GRACE_SECONDS
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.inventory.observed import Listening, Probe
from productive_k3s_infra.rehearse.system import SimulatedSystem
from static.fleet_doubles import Answer, Call, FakeFleet, host, inventory

PORTS = ("tcp/6443", "udp/8472")
NAMES = ("server-1", "agent-1", "agent-2")


class Network:
    """Hosts that listen until they are told to stop; a connection tells what is in `closed`, and who listened then."""

    def __init__(self, closed: dict[tuple[str, str], str] | None = None, targets: int = 1) -> None:
        self.closed = closed or {}
        self.targets = targets
        self.listening: set[str] = set()
        self.heard: list[Call] = []
        self.stopped: list[str] = []

    async def __call__(self, call: Call) -> Result:
        if call.arguments[0] == "--listen":
            return await self._listen(call)
        assert len(self.listening) == self.targets, "connected before every target listened"
        self.heard.append(call)
        return Result("done", data={address: self._reached(call, ports) for address, ports in asked(call).items()})

    def _reached(self, call: Call, ports: tuple[str, ...]) -> dict[str, str]:
        return {port: self.closed.get((call.host, port), "") for port in ports}

    async def _listen(self, call: Call) -> Result:
        address = next(item.address for item in inventory().hosts if item.name == call.host)
        # Whoever does not wait connects before this.
        await asyncio.sleep(0)
        self.listening.add(address)
        call.say("something else")
        call.say("listening")
        try:
            await asyncio.Event().wait()
        finally:
            self.listening.discard(address)
            self.stopped.append(call.host)
        raise AssertionError


def asked(call: Call) -> dict[str, tuple[str, ...]]:
    """Return the ports that a connecting run tries, by address."""
    flags = parser().parse_args(["probe", *call.arguments])
    assert len({address for address, _ in flags.connect}) == len(flags.connect)
    return {address: tuple(ports.split(",")) for address, ports in flags.connect}


def seconds(call: Call) -> float:
    """Return for how long a run is asked to listen or try."""
    found: float = parser().parse_args(["probe", *call.arguments]).seconds
    return found


async def test_every_other_host_tries_every_port_and_the_listener_is_stopped() -> None:
    network = Network({("agent-2", "udp/8472"): "no answer in 1 s"})
    probes = await probe_ports(inventory(), {"server-1": PORTS}, FakeFleet(dict.fromkeys(NAMES, network)))
    assert probes == (
        Probe("agent-1", "server-1", "tcp/6443", ""),
        Probe("agent-1", "server-1", "udp/8472", ""),
        Probe("agent-2", "server-1", "tcp/6443", ""),
        Probe("agent-2", "server-1", "udp/8472", "no answer in 1 s"),
    )
    assert network.stopped == ["server-1"]


async def test_machines_that_do_not_run_are_neither_tried_nor_blamed() -> None:
    network = Network()
    server, first, second = inventory().hosts
    there = replace(inventory(), hosts=(server, replace(first, assumed=True), second))
    lost = {"agent-1": HostUnreachable("there is no route to the host", where="agent-1")}
    fleet = FakeFleet(dict.fromkeys(NAMES, network), lost)
    probes = await probe_ports(there, {"server-1": PORTS, "agent-1": PORTS}, fleet)
    assert probes == (Probe("agent-2", "server-1", "tcp/6443", ""), Probe("agent-2", "server-1", "udp/8472", ""))


async def test_all_listen_and_then_each_connects_once() -> None:
    network = Network(targets=3)
    fleet = FakeFleet(dict.fromkeys(NAMES, network))
    probes = await probe_ports(inventory(), dict.fromkeys(NAMES, PORTS), fleet)
    assert len(probes) == 3 * 2 * 2
    assert [call.host for call in fleet.calls] == [*NAMES, *NAMES]
    addresses = {item.name: item.address for item in inventory().hosts}
    for call in network.heard:
        others = {address: PORTS for name, address in addresses.items() if name != call.host}
        assert asked(call) == others
    assert sorted(network.stopped) == sorted(NAMES)


@pytest.mark.parametrize("most", [1, 1000])
async def test_targets_listen_longer_than_any_source_can_take(most: int) -> None:
    ports = tuple(f"tcp/{number}" for number in range(1, most + 1))
    fleet = FakeFleet(dict.fromkeys(NAMES, Network(targets=3)))
    await probe_ports(inventory(), dict.fromkeys(NAMES, ports), fleet)
    listening, connecting = fleet.calls[:3], fleet.calls[3:]
    for call in connecting:
        assert call.deadline_seconds > longest_seconds(2 * most, seconds(call))
        # The exchange's own grace and travel come after the deadline.
        assert min(map(seconds, listening)) > probing._READY_SECONDS + call.deadline_seconds + GRACE_SECONDS + 5
    assert all(call.deadline_seconds > seconds(call) for call in listening)


async def test_the_door_is_tried_by_those_who_will_use_it() -> None:
    door = Listening("k3s.internal", "tcp/6443", ("agent-2",))
    network = Network({("agent-2", "tcp/6443"): "no such name"})
    probes = await probe_ports(inventory(), {"server-1": PORTS[1:]}, FakeFleet(dict.fromkeys(NAMES, network)), (door,))
    assert [probe for probe in probes if probe.target == "k3s.internal"] == [
        Probe("agent-2", "k3s.internal", "tcp/6443", "no such name")
    ]
    assert {call.host: "k3s.internal" in asked(call) for call in network.heard} == {"agent-1": False, "agent-2": True}


async def test_the_door_is_tried_also_where_everybody_has_k3s_but_the_newcomer() -> None:
    network = Network(targets=0)
    fleet = FakeFleet(dict.fromkeys(NAMES, network))
    probes = await probe_ports(inventory(), {}, fleet, (Listening("10.0.0.9", "tcp/7443", ("agent-1",)),))
    assert probes == (Probe("agent-1", "10.0.0.9", "tcp/7443", ""),)
    assert [call.host for call in fleet.calls] == ["agent-1"]


async def test_a_target_that_cannot_listen_hides_no_other() -> None:
    network = Network()
    lost = HostUnreachable("no route", where="agent-1")
    fleet = FakeFleet(dict.fromkeys(NAMES, network), {"agent-1": lost})
    probes = await probe_ports(inventory(), {"server-1": PORTS, "agent-1": PORTS[1:]}, fleet)
    assert [(probe.source, probe.target, probe.cause) for probe in probes if probe.port == "udp/8472"] == [
        ("agent-1", "server-1", "agent-1: no route"),
        ("agent-2", "server-1", ""),
        ("server-1", "agent-1", "agent-1 could not listen: agent-1: no route"),
        ("agent-2", "agent-1", "agent-1 could not listen: agent-1: no route"),
    ]
    assert [asked(call) for call in network.heard] == [{"10.0.0.11": PORTS}]


async def test_a_source_that_outlasts_the_listening_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_source_seconds", lambda _: 0.01)
    network = Network()
    fleet = FakeFleet({"server-1": network, "agent-1": silent, "agent-2": network})
    probes = await probe_ports(inventory(), {"server-1": PORTS}, fleet)
    assert {probe.source: probe.cause for probe in probes} == {
        "agent-1": "agent-1 did not answer within 0.01 s",
        "agent-2": "",
    }
    assert network.stopped == ["server-1"]


async def test_who_is_cancelled_stops_the_listeners() -> None:
    network, asked_once = Network(), asyncio.Event()

    async def asked_for_nothing(call: Call) -> Result:
        asked_once.set()
        return await silent(call)

    fleet = FakeFleet({"server-1": network, "agent-1": asked_for_nothing, "agent-2": silent})
    run = asyncio.ensure_future(probe_ports(inventory(), {"server-1": PORTS}, fleet))
    await asyncio.wait_for(asked_once.wait(), 20)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert network.stopped == ["server-1"]


async def silent(_: Call) -> Result:
    await asyncio.Event().wait()
    raise AssertionError


class Ten:
    """Implements Fleet: ten simulated hosts that run the program itself; `runs` says what was called where."""

    def __init__(self) -> None:
        self.inventory = inventory(host("server-1", "server"), *(host(f"agent-{number}") for number in range(1, 10)))
        self.runs: list[tuple[str, str]] = []
        self.systems = {item.name: SimulatedSystem() for item in self.inventory.hosts}
        for system in self.systems.values():
            system.reachable = {
                RemotePort(item.address, port) for item in self.inventory.hosts for port in parse_ports(wanted(item))
            }

    async def session(self, name: str) -> HostSession:
        self.runs.append((name, "session"))
        return InProcessSession(name, self.systems[name], None)  # type: ignore[arg-type]  # no probe asks the API

    async def close(self) -> None: ...


async def test_ten_hosts_are_two_runs_each_and_one_firewall_is_seen() -> None:
    fleet = Ten()
    walled = RemotePort("10.0.0.23", Port("udp", 8472))
    fleet.systems["agent-7"].reachable.remove(walled)
    targets = {item.name: wanted(item) for item in fleet.inventory.hosts}
    probes = await probe_ports(fleet.inventory, targets, fleet)
    assert len(probes) == 9 * 3 + 9 * 9 * 2
    assert [probe for probe in probes if probe.cause] == [
        Probe("agent-7", "agent-3", "udp/8472", "no echo within 3 s"),
    ]
    assert {name: fleet.runs.count((name, "session")) for name in targets} == dict.fromkeys(targets, 2)


async def test_a_lone_host_or_one_without_ports_is_not_asked() -> None:
    fleet = FakeFleet({})
    assert await probe_ports(inventory(host("server-1", "server")), {"server-1": PORTS}, fleet) == ()
    assert await probe_ports(inventory(), {"server-1": ()}, fleet) == ()
    assert not fleet.calls


async def test_a_source_that_cannot_be_asked_is_a_cause_and_stops_no_other() -> None:
    network = Network()
    fleet = FakeFleet(dict.fromkeys(NAMES, network), {"agent-1": HostUnreachable("no route", where="agent-1")})
    probes = await probe_ports(inventory(), {"server-1": PORTS}, fleet)
    assert {probe.source: probe.cause for probe in probes} == {"agent-1": "agent-1: no route", "agent-2": ""}


TAKEN = Result("failed", failures=(Failure("probe.listen", "cannot listen", "address in use"),))


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (TAKEN, "server-1 could not listen: cannot listen (address in use)"),
        (Result("interrupted"), "server-1 could not listen: the probe ended as interrupted"),
        (HostUnreachable("gone", where="server-1"), "server-1 could not listen: server-1: gone"),
    ],
)
async def test_a_target_that_cannot_listen_is_the_cause_and_nobody_connects(answer: Answer, cause: str) -> None:
    fleet = FakeFleet({"server-1": answer})
    probes = await probe_ports(inventory(), {"server-1": PORTS}, fleet)
    assert {probe.cause for probe in probes} == {cause}
    assert len(probes) == 4


async def test_a_target_that_never_listens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_READY_SECONDS", 0.01)
    probes = await probe_ports(inventory(), {"server-1": PORTS}, FakeFleet({"server-1": silent}))
    assert "not ready within" in probes[0].cause


async def test_a_source_that_says_nothing_of_a_port_has_its_failure_as_the_cause() -> None:
    network = Network()
    fleet = FakeFleet({"server-1": network, "agent-1": TAKEN, "agent-2": network})
    probes = await probe_ports(inventory(), {"server-1": PORTS}, fleet)
    assert probes[0].cause == "cannot listen (address in use)"


async def test_a_server_that_runs_is_tried_by_its_name() -> None:
    network = Network({("agent-1", "tcp/6443"): "timed out"}, targets=0)
    door = Listening("10.0.0.11", "tcp/6443", ("agent-1", "agent-2"), "server-1")
    probes = await probe_ports(inventory(), {}, FakeFleet(dict.fromkeys(NAMES, network)), (door,))
    assert probes == (
        Probe("agent-1", "server-1", "tcp/6443", "timed out"),
        Probe("agent-2", "server-1", "tcp/6443", ""),
    )


def wanted(item: Host) -> tuple[str, ...]:
    return ("tcp/6443", "tcp/10250", "udp/8472") if item.role == "server" else ("tcp/10250", "udp/8472")
