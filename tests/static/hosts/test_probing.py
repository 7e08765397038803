"""Who reaches whom: one listens, the others connect, and whatever fails names itself."""

from __future__ import annotations

import asyncio

import pytest

from productive_k3s.events import Result
from productive_k3s.failure import Failure
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.hosts import probing
from productive_k3s_infra.hosts.probing import Probe, needed_ports, probe_ports
from static.fleet_doubles import Answer, Call, FakeFleet, host, inventory

PORTS = ("tcp/6443", "udp/8472")
NAMES = ("server-1", "agent-1", "agent-2")


class Network:
    """Hosts that listen until they are told to stop; a connection tells what is in `closed`, and who listened then."""

    def __init__(self, closed: dict[tuple[str, str], str] | None = None) -> None:
        self.closed = closed or {}
        self.listening: set[str] = set()
        self.most_at_once = 0
        self.stopped: list[str] = []

    async def __call__(self, call: Call) -> Result:
        if call.arguments[0] == "--listen":
            return await self._listen(call)
        _, address, ports = call.arguments
        assert address in self.listening, "connected before the target listened"
        return Result("done", data={port: self.closed.get((call.host, port), "") for port in ports.split(",")})

    async def _listen(self, call: Call) -> Result:
        address = next(item.address for item in inventory().hosts if item.name == call.host)
        self.listening.add(address)
        self.most_at_once = max(self.most_at_once, len(self.listening))
        call.say("something else")
        call.say("listening")
        try:
            await asyncio.Event().wait()
        finally:
            self.listening.discard(address)
            self.stopped.append(call.host)
        raise AssertionError


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


async def test_targets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_TARGETS_AT_ONCE", 1)
    network = Network()
    probes = await probe_ports(inventory(), dict.fromkeys(NAMES, PORTS), FakeFleet(dict.fromkeys(NAMES, network)))
    assert len(probes) == 3 * 2 * 2
    assert network.most_at_once == 1


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
    monkeypatch.setattr(probing, "_DEADLINE_SECONDS", 0.01)

    async def silent(_: Call) -> Result:
        await asyncio.Event().wait()
        raise AssertionError

    probes = await probe_ports(inventory(), {"server-1": PORTS}, FakeFleet({"server-1": silent}))
    assert "not ready within" in probes[0].cause


async def test_a_source_that_says_nothing_of_a_port_has_its_failure_as_the_cause() -> None:
    network = Network()
    fleet = FakeFleet({"server-1": network, "agent-1": TAKEN, "agent-2": network})
    probes = await probe_ports(inventory(), {"server-1": PORTS}, fleet)
    assert probes[0].cause == "cannot listen (address in use)"


def test_agents_need_no_api_port() -> None:
    assert needed_ports(host("server-1", "server")) == ("tcp/6443", "tcp/10250", "udp/8472")
    assert needed_ports(host("agent-1")) == ("tcp/10250", "udp/8472")
