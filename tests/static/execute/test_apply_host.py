"""What is sent to a host for a step, and what becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.steps.apply_host import longest_seconds
from productive_k3s_infra.execute.steps.perform import perform
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.plan.step import ApplyAgent, Step
from static.contract_program.hosts import TOKEN
from static.fleet_doubles import Call, FakeFleet, tools
from static.plan.clusters import situation, spec

NAMES = ("server-1", "agent-1", "agent-2")


def plan() -> Plan:
    return plan_stages(situation(spec()))


def step(name: str) -> Step:
    return next(item for item in plan().steps if item.id == name)


class Hosts:
    """A fleet, and what carries steps out on it."""

    def __init__(self, answer: Callable[[Call], Result]) -> None:
        self.fleet = FakeFleet(dict.fromkeys(NAMES, answer))
        self._tools = tools(self.fleet)

    async def perform(self, name: str) -> Result:
        return await perform(self._tools, step(name), lambda _: None)


def well(call: Call) -> Result:
    wants_token = call.verb == "token" or "--tokens" in call.arguments
    data: dict[str, Any] | None = {"agent": TOKEN, "server": "K10x::server:y"} if wants_token else None
    return Result("done", data=data)


async def test_agents_get_the_token_that_the_server_said_when_it_was_made() -> None:
    hosts = Hosts(well)
    result = await hosts.perform("server-1/apply-server")
    assert result.data is None
    await hosts.perform("agent-1/apply-agent")
    assert [(call.host, call.verb) for call in hosts.fleet.calls] == [("server-1", "server"), ("agent-1", "agent")]
    document = hosts.fleet.calls[-1].document or {}
    assert document["join"]["token"] == TOKEN


async def test_a_server_that_was_not_touched_is_asked_once() -> None:
    hosts = Hosts(well)
    for name in ("agent-1", "agent-2"):
        await hosts.perform(f"{name}/apply-agent")
    assert [call.verb for call in hosts.fleet.calls] == ["token", "agent", "agent"]
    assert all((call.document or {})["join"]["token"] == TOKEN for call in hosts.fleet.calls[1:])


async def test_no_agent_is_asked_for_tokens() -> None:
    hosts = Hosts(well)
    await hosts.perform("agent-1/apply-agent")
    assert "--tokens" not in hosts.fleet.calls[-1].arguments


async def test_a_token_that_is_not_to_be_had_fails_the_step() -> None:
    gone = Failure("k3s.no-server", "this host has no tokens of a cluster")
    hosts = Hosts(lambda _: Result("refused", failures=(gone,)))
    with pytest.raises(Pk3sError) as caught:
        await hosts.perform("agent-1/apply-agent")
    assert caught.value.code == "k3s.no-server"


def test_the_longest_time_is_that_of_the_slowest_host() -> None:
    steps = plan().steps
    slow = steps[-1]
    assert isinstance(slow, ApplyAgent)
    limits = replace(slow.request.deadlines, ready=slow.request.deadlines.ready + 1000.0)
    slower = replace(slow, request=replace(slow.request, deadlines=limits))
    assert longest_seconds((*steps[:-1], slower), {}) == longest_seconds(steps, {}) + 1000.0
