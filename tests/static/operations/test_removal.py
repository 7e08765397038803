"""Taking a node out, then its machine away: what is asked, and what stops it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.operations.removal import RemovalHandlers
from productive_k3s_infra.plan.model import Step
from static.fleet_doubles import Call, FakeFleet

LEAVE = Step("agent-1/remove-node", "cluster", "server-1", "remove-node", "", "disrupt", node="agent-1")


class Provider:
    """Destroys one machine at a time, or tells."""

    def __init__(self) -> None:
        self.destroyed: list[str] = []
        self.at_work = 0

    async def destroy(self, names: tuple[str, ...], _on_progress: object) -> None:
        self.at_work += 1
        assert self.at_work == 1
        await asyncio.sleep(0)
        self.at_work -= 1
        self.destroyed += names


def handlers(fleet: FakeFleet, provider: Provider) -> RemovalHandlers:
    return RemovalHandlers(cast("Any", provider), fleet, cast("Any", SimpleNamespace(machine=None)))


def answering(drained: Result) -> FakeFleet:
    def answer(call: Call) -> Result:
        return drained if call.arguments[0] == "drain" else Result("done")

    return FakeFleet({"server-1": answer})


@pytest.mark.parametrize("code", ["", "node.not-ready", "kube.no-node"])
async def test_the_node_is_drained_and_deleted_on_the_server(code: str) -> None:
    failures = (Failure(code, "", "", "", 5),) if code else ()
    fleet = answering(Result("failed" if code else "done", failures=failures))
    assert (await handlers(fleet, Provider()).remove_node(LEAVE)).outcome == "done"
    assert [(call.host, call.verb, call.arguments[:2]) for call in fleet.calls] == [
        ("server-1", "node", ("drain", "agent-1")),
        ("server-1", "node", ("remove", "agent-1")),
    ]
    assert fleet.calls[0].deadline_seconds > float(fleet.calls[0].arguments[3])


@pytest.mark.parametrize("code", ["node.drain-blocked", "node.drain-timeout", ""])
async def test_a_node_that_cannot_be_drained_stays(code: str) -> None:
    failures = (Failure(code, "blocked", "", "", 5),) if code else ()
    fleet = answering(Result("failed", failures=failures))
    assert (await handlers(fleet, Provider()).remove_node(LEAVE)).failures == failures
    assert [call.arguments[0] for call in fleet.calls] == ["drain"]


async def test_machines_go_one_at_a_time() -> None:
    provider = Provider()
    both = handlers(FakeFleet({}), provider)
    steps = [
        Step(f"agent-{n}/destroy-machine", "cluster", f"agent-{n}", "destroy-machine", "", "disrupt") for n in (1, 2)
    ]
    ended = await asyncio.gather(*(both.destroy_machine(step) for step in steps))
    assert {result.outcome for result in ended} == {"done"}
    assert provider.destroyed == ["agent-1", "agent-2"]
