"""A validation that begins while agents join: when it may, when it begins, and that it never stays behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.facts import ClusterFacts, NodeFact
from productive_k3s_infra.errors import HostProgramFailed
from productive_k3s_infra.execute.model import StepOutcome, StepResult
from productive_k3s_infra.operations import validation_ahead as module
from productive_k3s_infra.operations.validation_ahead import ValidationAhead
from productive_k3s_infra.plan.joining import only_new_agents_join
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.validate.quick import Answer
from static.plan.clusters import executed, situation, spec, wish_again

FOUND = Result("done", checks=(CheckResult("node.ready", "agent-1", True, "error", "Ready"),))


class Server:
    """The first server: it is asked, and answers when the test says so."""

    def __init__(self, answer: Answer = FOUND) -> None:
        self.asked = 0
        self.stopped = False
        self.may_answer = asyncio.Event()
        self.answer = answer

    async def ask(self) -> Answer:
        self.asked += 1
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise
        return self.answer


def ended(name: str, outcome: StepOutcome) -> StepResult:
    step = next(item for item in plan_stages(situation(spec())).steps if item.id == name)
    return StepResult(step, outcome)


async def test_it_begins_when_the_first_server_is_there() -> None:
    server = Server()
    early = ValidationAhead(server.ask, "server-1/apply-server")
    early.begin()
    early.step_ended(ended("agent-1/apply-agent", "done"))
    await asyncio.sleep(0)
    assert server.asked == 0
    early.step_ended(ended("server-1/apply-server", "done"))
    await asyncio.sleep(0)
    assert server.asked == 1
    server.may_answer.set()
    assert await early.answer() is FOUND


async def test_it_begins_at_once_where_the_server_has_nothing_to_do() -> None:
    server = Server()
    early = ValidationAhead(server.ask, None)
    early.begin()
    await asyncio.sleep(0)
    assert server.asked == 1
    await early.drop()


async def test_a_server_that_fails_is_not_asked() -> None:
    server = Server()
    early = ValidationAhead(server.ask, "server-1/apply-server")
    early.begin()
    early.step_ended(ended("server-1/apply-server", "failed"))
    await asyncio.sleep(0)
    assert (server.asked, await early.answer()) == (0, None)
    await early.drop()


async def test_dropped_it_is_told_to_stop() -> None:
    server = Server()
    early = ValidationAhead(server.ask, None)
    early.begin()
    await asyncio.sleep(0)
    await early.drop()
    assert server.stopped


async def test_an_answer_that_was_lost_is_asked_for_anew() -> None:
    server = Server(HostProgramFailed("the connection was lost"))
    early = ValidationAhead(server.ask, None)
    early.begin()
    server.may_answer.set()
    assert await early.answer() is None


async def test_one_that_takes_too_long_is_stopped_and_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LATEST_SECONDS", 0.01)
    server = Server()
    early = ValidationAhead(server.ask, None)
    early.begin()
    assert await early.answer() is None
    assert server.stopped


def may(before: Situation) -> bool:
    return only_new_agents_join(before, plan_stages(before))


def made(agents: int) -> Situation:
    empty = situation(spec(agents))
    return executed(empty, plan_stages(empty))


def test_a_new_cluster_may_be_validated_while_its_agents_join() -> None:
    assert may(situation(spec()))
    assert may(situation(spec(), pushed=True))


def test_an_agent_more_may_join_meanwhile() -> None:
    assert may(wish_again(made(1), spec(2)))


def test_nothing_is_early_where_nothing_joins() -> None:
    assert not may(situation(spec(0)))
    assert not may(made(2))


def test_a_member_that_changes_is_looked_at_afterwards() -> None:
    assert not may(wish_again(made(2), spec(2, agent={"kubelet-arg": ["max-pods=50"]})))
    assert not may(wish_again(made(1), spec(2, agent={"kubelet-arg": ["max-pods=50"]})))


def test_a_cluster_that_does_not_say_its_nodes_is_looked_at_afterwards() -> None:
    before = wish_again(made(1), spec(2))
    server = replace(before.facts["server-1"], cluster=ClusterFacts(False, "connection refused"))
    assert not may(replace(before, facts={**before.facts, "server-1": server}))


def test_an_agent_that_the_cluster_knows_already_is_looked_at_afterwards() -> None:
    """Its Node may still look Ready, though the host was made anew."""
    before = wish_again(made(1), spec(2))
    server = before.facts["server-1"]
    assert server.cluster is not None
    ghost: NodeFact = replace(server.cluster.nodes[0], name="agent-2", roles=())
    cluster: ClusterFacts = replace(server.cluster, nodes=(*server.cluster.nodes, ghost))
    assert not may(replace(before, facts={**before.facts, "server-1": replace(server, cluster=cluster)}))
