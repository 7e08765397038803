"""An apply that drains: what is asked of whom in which order, and what a run that ends early leaves and mends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.cli.show import applied_lines
from productive_k3s_infra.cluster_file.model import ClusterSpec, Rollout
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.node import act_on_node
from productive_k3s_infra.operations.session import Session
from static.fleet_doubles import Call
from static.operations.bed import World, enter
from static.plan.clusters import spec

BROKEN = Failure("k3s.start", "K3s did not start", "", "", 5)
BLOCKED = Failure("node.drain-blocked", "not drained", "x/web-1: budget web", "or uncordon agent-1", 5)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One server and two agents, made by an earlier apply."""
    made = World(tmp_path, spec(2))
    enter(made, monkeypatch)
    await apply(made.session, probe=False)
    made.fleet.calls.clear()
    return made


def wishing(world: World, pods: int) -> Session:
    """The file wants another flag of the agents, with a drain."""
    wish: ClusterSpec = world.session.spec
    k3s = wish.k3s.model_copy(update={"agent": {"kubelet-arg": [f"max-pods={pods}"]}})
    return replace(world.session, spec=wish.model_copy(update={"k3s": k3s, "rollout": Rollout(drain=True)}))


def node(world: World, name: str) -> NodeFact:
    cluster = world.facts["server-1"].cluster
    assert cluster is not None
    return next(node for node in cluster.nodes if node.name == name)


def asked(world: World) -> list[tuple[str, ...]]:
    words = ("drain", "uncordon")
    calls = [call for call in world.fleet.calls if call.verb == "agent" or call.arguments[:1] in [(w,) for w in words]]
    world.fleet.calls.clear()
    return [(call.host, *(call.arguments[:2] or (call.verb,))) for call in calls]


def failing(world: World, verb: str, host: str, failure: Failure) -> None:
    """Let one host fail where it is asked for this."""

    def answer(call: Call) -> Result:
        if host in (call.host, *call.arguments) and (verb == call.verb or verb in call.arguments):
            return Result("failed", failures=(failure,))
        del world.instead[call.verb]
        try:
            return world.answer(call)
        finally:
            world.instead[call.verb] = answer

    world.instead["agent" if verb == "agent" else "node"] = answer


async def test_each_is_drained_restarted_and_takes_pods_again_before_the_next(world: World) -> None:
    applied = await apply(wishing(world, 50), probe=False)
    assert applied.exit_code == 0
    assert asked(world) == [
        ("server-1", "drain", "agent-1"),
        ("agent-1", "agent"),
        ("server-1", "uncordon", "agent-1"),
        ("server-1", "drain", "agent-2"),
        ("agent-2", "agent"),
        ("server-1", "uncordon", "agent-2"),
    ]
    assert node(world, "agent-1").schedulable
    assert node(world, "agent-2").schedulable
    assert (await apply(wishing(world, 50), probe=False)).results == ()


async def test_what_does_not_come_up_stays_cordoned_and_the_next_good_apply_lifts_it(world: World) -> None:
    failing(world, "agent", "agent-1", BROKEN)
    applied = await apply(wishing(world, 50), probe=False)
    assert {result.step.id: result.outcome for result in applied.results} == {
        "agent-1/drain-node": "done",
        "agent-1/apply-agent": "failed",
        "agent-1/uncordon-node": "skipped",
        "agent-2/drain-node": "skipped",
        "agent-2/apply-agent": "skipped",
        "agent-2/uncordon-node": "skipped",
    }
    assert (node(world, "agent-1").schedulable, node(world, "agent-1").own_cordon) == (False, True)
    world.instead.clear()
    assert (await apply(wishing(world, 60), probe=False)).exit_code == 0
    assert node(world, "agent-1").schedulable


async def test_what_cannot_be_drained_is_not_restarted(world: World) -> None:
    failing(world, "drain", "agent-1", BLOCKED)
    applied = await apply(wishing(world, 50), probe=False)
    assert ("agent-1", "agent") not in asked(world)
    said = "\n".join(applied_lines(applied))
    assert "x/web-1: budget web" in said
    assert "pk3s uncordon agent-1" in said
    assert applied.exit_code == 5


async def test_a_cordon_that_a_killed_run_left_goes_with_the_next_apply(world: World) -> None:
    failing(world, "uncordon", "agent-1", Failure("kube.unreachable", "gone", "", "", 5))
    await apply(wishing(world, 50), probe=False)
    assert not node(world, "agent-1").schedulable
    world.instead.clear()
    asked(world)
    again = await apply(wishing(world, 50), probe=False)
    assert asked(world)[0] == ("server-1", "uncordon", "agent-1")
    assert again.exit_code == 0
    assert node(world, "agent-1").schedulable


async def test_what_a_person_cordoned_stays_so_and_the_end_says_it(world: World) -> None:
    await act_on_node(world.session, "cordon", "agent-2")
    asked(world)
    applied = await apply(wishing(world, 50), probe=False)
    assert ("server-1", "drain", "agent-2") in asked(world)
    assert (node(world, "agent-1").schedulable, node(world, "agent-2").schedulable) == (True, False)
    assert any("agent-2: it was cordoned manually" in line for line in applied_lines(applied))


async def test_a_cordon_that_came_meanwhile_is_said_too(world: World) -> None:
    stays = "agent-1 stays cordoned: a person cordoned it"
    data = {"evicted": 1, "alone": ["x/alone"]}

    def answer(call: Call) -> Result:
        if call.arguments[0] == "drain":
            return Result("done", notes=("drained",), data=data)
        return Result("unchanged", notes=(stays,))

    world.instead["node"] = answer
    said = list(applied_lines(await apply(wishing(world, 50), probe=False)))
    assert f"note: {stays}" in said
    assert "note: agent-1: nothing recreates these pods: x/alone" in said
