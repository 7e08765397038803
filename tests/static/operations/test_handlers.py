"""What is sent to a host for a step, and what becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.operations.handlers import Handlers, TokenSource, longest_seconds
from productive_k3s_infra.plan.model import Plan, Step
from productive_k3s_infra.plan.pipeline import plan_cluster
from static.contract_program.hosts import TOKEN
from static.fleet_doubles import Call, FakeFleet
from static.plan.clusters import situation, spec

NAMES = ("server-1", "agent-1", "agent-2")


def plan() -> Plan:
    return plan_cluster(situation(spec()))


def step(name: str) -> Step:
    return next(item for item in plan().steps if item.id == name)


def handlers(answer: Callable[[Call], Result]) -> tuple[FakeFleet, Handlers]:
    fleet = FakeFleet(dict.fromkeys(NAMES, answer))
    return fleet, Handlers(fleet, TokenSource(fleet, "server-1"), {}, lambda *_: None)


def well(call: Call) -> Result:
    wants_token = call.verb == "token" or "--tokens" in call.arguments
    data: dict[str, Any] | None = {"agent": TOKEN, "server": "K10x::server:y"} if wants_token else None
    return Result("done", data=data)


async def test_agents_get_the_token_that_the_server_said_when_it_was_made() -> None:
    fleet, handler = handlers(well)
    result = await handler.apply(step("server-1/apply-server"))
    assert result.data is None
    await handler.apply(step("agent-1/apply-agent"))
    assert [(call.host, call.verb) for call in fleet.calls] == [("server-1", "server"), ("agent-1", "agent")]
    document = fleet.calls[-1].document or {}
    assert document["join"]["token"] == TOKEN


async def test_a_server_that_was_not_touched_is_asked_once() -> None:
    fleet, handler = handlers(well)
    for name in ("agent-1", "agent-2"):
        await handler.apply(step(f"{name}/apply-agent"))
    assert [call.verb for call in fleet.calls] == ["token", "agent", "agent"]
    assert all((call.document or {})["join"]["token"] == TOKEN for call in fleet.calls[1:])


async def test_no_agent_is_asked_for_tokens() -> None:
    fleet, handler = handlers(well)
    await handler.apply(step("agent-1/apply-agent"))
    assert "--tokens" not in fleet.calls[-1].arguments


async def test_a_token_that_is_not_to_be_had_fails_the_step() -> None:
    gone = Failure("k3s.no-server", "this host has no tokens of a cluster")
    _, handler = handlers(lambda _: Result("refused", failures=(gone,)))
    with pytest.raises(Pk3sError) as caught:
        await handler.apply(step("agent-1/apply-agent"))
    assert caught.value.code == "k3s.no-server"


def test_the_longest_time_is_that_of_the_slowest_host() -> None:
    steps = plan().steps
    slow = steps[-1]
    assert slow.request is not None
    limits = replace(slow.request.deadlines, ready=slow.request.deadlines.ready + 1000.0)
    slower = replace(slow, request=replace(slow.request, deadlines=limits))
    assert longest_seconds((*steps[:-1], slower), {}) == longest_seconds(steps, {}) + 1000.0
