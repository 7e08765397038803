"""Taking a node out of the cluster: what is asked of the server, and what stops it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.steps.perform import perform
from productive_k3s_infra.plan.step import CordonNode, DrainNode, ForgetNode, LabelNode, RemoveNode, UncordonNode
from static.fleet_doubles import Call, FakeFleet, tools

COMMON = {"host": "server-1", "node": "agent-1", "reason": ""}
LEAVE = RemoveNode(id="agent-1/remove-node", impact="disrupt", **COMMON)  # type: ignore[arg-type]
FORGET = ForgetNode(id="agent-1/forget-node", impact="disrupt", **COMMON)  # type: ignore[arg-type]
LABEL = LabelNode(id="a", impact="change", labels={"disk": "ssd", "old": None}, **COMMON)  # type: ignore[arg-type]

DRAIN = DrainNode(id="agent-1/drain-node", impact="disrupt", **COMMON)  # type: ignore[arg-type]


def answering(drained: Result) -> FakeFleet:
    def answer(call: Call) -> Result:
        return drained if call.arguments[0] == "drain" else Result("done")

    return FakeFleet({"server-1": answer})


@pytest.mark.parametrize("code", ["", "node.not-ready", "kube.no-node"])
async def test_the_node_is_drained_and_deleted_on_the_server(code: str) -> None:
    failures = (Failure(code, "", "", "", 5),) if code else ()
    fleet = answering(Result("failed" if code else "done", failures=failures))
    assert (await perform(tools(fleet), LEAVE, lambda _: None)).outcome == "done"
    assert [(call.host, call.verb, call.arguments[:2]) for call in fleet.calls] == [
        ("server-1", "node", ("drain", "agent-1")),
        ("server-1", "node", ("remove", "agent-1")),
    ]
    assert fleet.calls[0].deadline_seconds > float(fleet.calls[0].arguments[3])


@pytest.mark.parametrize("code", ["node.drain-blocked", "node.drain-timeout", ""])
async def test_a_node_that_cannot_be_drained_stays(code: str) -> None:
    failures = (Failure(code, "blocked", "", "", 5),) if code else ()
    fleet = answering(Result("failed", failures=failures))
    assert (await perform(tools(fleet), LEAVE, lambda _: None)).failures == failures
    assert [call.arguments[0] for call in fleet.calls] == ["drain"]


async def test_a_node_that_is_forgotten_is_not_drained() -> None:
    fleet = answering(Result("failed"))
    assert (await perform(tools(fleet), FORGET, lambda _: None)).outcome == "done"
    assert [call.arguments for call in fleet.calls] == [("remove", "agent-1")]


async def test_labels_are_set_and_taken_away_in_one_call() -> None:
    fleet = answering(Result("done"))
    await perform(tools(fleet), LABEL, lambda _: None)
    assert [call.arguments for call in fleet.calls] == [("label", "agent-1", "disk=ssd", "old-")]


async def test_what_an_apply_does_to_a_cordon_it_says_and_a_person_is_none() -> None:
    fleet = answering(Result("done"))
    for step in (
        DRAIN,
        UncordonNode(id="a", impact="change", **COMMON),  # type: ignore[arg-type]
        CordonNode(id="a", impact="change", **COMMON),  # type: ignore[arg-type]
        replace(DRAIN, by_apply=False, timeout_seconds=5.0),
        UncordonNode(id="a", impact="change", by_apply=False, **COMMON),  # type: ignore[arg-type]
        LEAVE,
    ):
        assert (await perform(tools(fleet), step, lambda _: None)).outcome == "done"
    assert [call.arguments for call in fleet.calls] == [
        ("drain", "agent-1", "--timeout", "300", "--by-apply"),
        ("uncordon", "agent-1", "--by-apply"),
        ("cordon", "agent-1"),
        ("drain", "agent-1", "--timeout", "5"),
        ("uncordon", "agent-1"),
        ("drain", "agent-1", "--timeout", "300", "--by-apply"),
        ("remove", "agent-1"),
    ]
    assert fleet.calls[3].deadline_seconds > 5.0


@pytest.mark.parametrize("code", ["node.drain-blocked", "node.drain-timeout", "node.not-ready"])
async def test_a_drain_that_fails_says_how_its_cordon_is_lifted(code: str) -> None:
    failed = Failure(code, "not drained", "x/web-1: budget web", "run it again; or uncordon agent-1", 5)
    found = await perform(tools(answering(Result("failed", failures=(failed,)))), DRAIN, lambda _: None)
    assert found.outcome == "failed"
    (failure,) = found.failures
    assert failure.remedy == "run it again; or uncordon agent-1: pk3s uncordon agent-1"


async def test_a_node_that_has_gone_needs_no_drain_before_a_restart() -> None:
    gone = Result("failed", failures=(Failure("kube.no-node", "agent-1 is no node of this cluster", "", "", 2),))
    assert (await perform(tools(answering(gone)), DRAIN, lambda _: None)).outcome == "unchanged"
    by_hand = replace(DRAIN, by_apply=False)
    assert (await perform(tools(answering(gone)), by_hand, lambda _: None)).failures == gone.failures
