"""All hosts are asked at once; what one cannot answer stops no other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import HostKeyMismatch, HostProgramFailed
from productive_k3s_infra.hosts.fleet import gathering
from productive_k3s_infra.hosts.fleet.gathering import failed, gather, require_facts
from static.contract_program.hosts import fresh
from static.fleet_doubles import Call, FakeFleet, host, inventory

FACTS = Result("done", facts=fresh())


async def test_a_host_is_in_exactly_one_mapping_and_its_error_is_kept() -> None:
    changed = HostKeyMismatch("another key", where="agent-2")
    dead = HostProgramFailed("no Python", code="host.no-python")
    fleet = FakeFleet({"server-1": FACTS, "agent-1": dead}, {"agent-2": changed})
    observed = await gather(inventory(), fleet)
    assert set(observed.measured) == set(observed.facts) == {"server-1"}
    assert observed.unreachable == {"agent-1": dead, "agent-2": changed}


async def test_hosts_are_asked_at_the_same_time() -> None:
    everybody = asyncio.Barrier(3)

    async def answer(_: Call) -> Result:
        await everybody.wait()  # never passes if they are asked one after the other
        return FACTS

    fleet = FakeFleet(dict.fromkeys(("server-1", "agent-1", "agent-2"), answer))
    async with asyncio.timeout(20):
        assert len((await gather(inventory(), fleet)).measured) == 3
    assert [call.verb for call in fleet.calls] == ["facts"] * 3


async def test_machines_that_do_not_exist_are_not_asked() -> None:
    fleet = FakeFleet({"server-1": FACTS})
    observed = await gather(inventory(host("server-1", "server"), host("agent-1", assumed=True)), fleet)
    assert list(observed.measured) == ["server-1"]
    assert not observed.unreachable


async def test_the_skew_lies_between_the_two_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter((1000.0, 1000.4))
    monkeypatch.setattr(gathering.time, "time", lambda: next(readings))
    ahead = replace(FACTS, facts=fresh(time=1005.3))
    observed = await gather(inventory(host("server-1", "server")), FakeFleet({"server-1": ahead}))
    measured = observed.measured["server-1"]
    assert measured.ahead_at_least == pytest.approx(4.9)
    assert measured.ahead_at_most == pytest.approx(5.3)


async def test_a_host_whose_facts_fail_is_unreachable_with_its_own_code() -> None:
    refused = Result("failed", failures=(Failure("sudo.refused", "sudo wants a password", "a line", "see sudoers"),))
    observed = await gather(inventory(host("server-1", "server")), FakeFleet({"server-1": refused}))
    error = observed.unreachable["server-1"]
    assert (error.code, error.what, error.evidence, error.remedy, error.where) == (
        *("sudo.refused", "sudo wants a password", "a line", "see sudoers"),
        "server-1",
    )


def test_a_result_without_facts_or_cause_still_has_an_error() -> None:
    error = failed("agent-1", Result("interrupted"))
    assert error.code == "host.no-result"
    assert "interrupted" in error.what
    with pytest.raises(HostProgramFailed):
        require_facts("agent-1", Result("done"))
    assert require_facts("agent-1", FACTS) is FACTS.facts
