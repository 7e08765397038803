"""`pk3s cordon | drain | uncordon NODE`: which server is asked, what is refused, and how it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import ClusterFacts, Facts, NodeFact
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.answers.made import node_answer
from productive_k3s_infra.cli.nodes import acted_lines
from productive_k3s_infra.cluster_file.model import Node
from productive_k3s_infra.errors import BadInput, HostUnreachable, NotAgreed, StepFailed
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.node import act_on_node
from productive_k3s_infra.plan.step import DrainNode
from productive_k3s_infra.workspace.journal import list_journals, read_journal
from productive_k3s_infra.workspace.record import read_record, write_record
from static.contract_program.hosts import OTHER_CA
from static.operations.bed import World, enter
from static.plan.clusters import spec

BLOCKED = Failure("node.drain-blocked", "not drained", "x/web-1: budget web", "run it again; or uncordon agent-1", 5)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One server and two agents, made by an earlier apply."""
    made = World(tmp_path, spec(2))
    enter(made, monkeypatch)
    await apply(made.session, probe=False)
    made.fleet.calls.clear()
    made.person.asked.clear()
    return made


def node(world: World, name: str = "agent-1") -> NodeFact:
    cluster = world.facts["server-1"].cluster
    assert cluster is not None
    return next(node for node in cluster.nodes if node.name == name)


def asked(world: World) -> list[tuple[str, tuple[str, ...]]]:
    return [(call.host, call.arguments) for call in world.fleet.calls if call.verb == "node"]


async def test_what_a_person_cordons_is_a_persons(world: World) -> None:
    cordoned = await act_on_node(world.session, "cordon", "agent-1")
    assert (cordoned.exit_code, node(world).schedulable, node(world).own_cordon) == (0, False, False)
    assert asked(world) == [("server-1", ("cordon", "agent-1"))]
    assert not world.person.asked
    assert (await apply(world.session, probe=False)).results == ()
    assert not node(world).schedulable
    assert (await act_on_node(world.session, "uncordon", "agent-1")).exit_code == 0
    assert node(world).schedulable


async def test_a_person_lifts_what_an_apply_has_left(world: World) -> None:
    world.facts["server-1"] = shown(world, schedulable=False, own_cordon=True)
    await act_on_node(world.session, "uncordon", "agent-1")
    assert asked(world) == [("server-1", ("uncordon", "agent-1"))]
    assert node(world).schedulable


def shown(world: World, **fields: Any) -> Facts:
    server = world.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(one, **fields) if one.name == "agent-1" else one for one in server.cluster.nodes)
    return replace(server, cluster=replace(server.cluster, nodes=nodes))


async def test_a_drain_is_agreed_to(world: World) -> None:
    world.person.agrees = False
    with pytest.raises(NotAgreed) as caught:
        await act_on_node(world.session, "drain", "agent-1")
    assert (caught.value.exit_code, caught.value.where) == (4, "agent-1")
    assert asked(world) == []
    (plan,) = world.person.asked
    assert [(step.id, step.impact) for step in plan.steps] == [("agent-1/drain-node", "disrupt")]
    world.person.agrees = True
    drained = await act_on_node(world.session, "drain", "agent-1", timeout_seconds=7.0)
    assert (drained.exit_code, asked(world)) == (0, [("server-1", ("drain", "agent-1", "--timeout", "7"))])
    assert isinstance(drained.result.step, DrainNode)


async def test_a_server_may_be_drained(world: World) -> None:
    assert (await act_on_node(world.session, "drain", "server-1")).exit_code == 0
    assert asked(world) == [("server-1", ("drain", "server-1", "--timeout", "300"))]


async def test_a_drain_that_is_blocked_says_by_what_and_the_way_back(world: World) -> None:
    world.instead["node"] = lambda _: Result("failed", failures=(BLOCKED,))
    acted = await act_on_node(world.session, "drain", "agent-1")
    assert acted.exit_code == 5
    said = "\n".join(acted_lines(acted))
    assert "[node.drain-blocked]" in said
    assert "x/web-1: budget web" in said
    assert "pk3s uncordon agent-1" in said
    assert str(acted.journal) in said
    assert encode(node_answer(acted))["failure"]["code"] == "node.drain-blocked"
    assert read_journal(list_journals(world.session.workspace)[-1])[-1].fields["exit_code"] == 5


async def test_what_came_of_it_is_a_document(world: World) -> None:
    data = {"evicted": 2, "alone": ["x/alone"]}
    world.instead["node"] = lambda _: Result("done", notes=("agent-1 is drained",), data=data)
    acted = await act_on_node(world.session, "drain", "agent-1")
    document = encode(node_answer(acted))
    assert {key: document[key] for key in ("exit_code", "verb", "node", "server", "outcome", "evicted", "alone")} == {
        "exit_code": 0,
        "verb": "drain",
        "node": "agent-1",
        "server": "server-1",
        "outcome": "done",
        "evicted": 2,
        "alone": ["x/alone"],
    }
    assert list(acted_lines(acted)) == ["agent-1 is drained"]


async def test_a_name_that_no_node_has(world: World) -> None:
    with pytest.raises(BadInput) as caught:
        await act_on_node(world.session, "cordon", "agnet-1")
    assert (caught.value.code, caught.value.exit_code, caught.value.where) == ("kube.no-node", 2, "agnet-1")
    assert caught.value.evidence == "nodes: server-1, agent-1, agent-2"
    assert asked(world) == []


async def test_a_node_of_the_file_that_has_not_joined(world: World) -> None:
    more = spec(3)
    session = replace(world.session, spec=more, provider=World(Path("/nowhere"), more).provider)
    with pytest.raises(BadInput) as caught:
        await act_on_node(session, "drain", "agent-3")
    assert caught.value.code == "kube.no-node"
    assert "pk3s apply" in caught.value.remedy


async def test_a_node_that_the_file_does_not_name_is_one_of_the_cluster(world: World) -> None:
    fewer = replace(world.session, spec=spec(1), provider=World(Path("/nowhere"), spec(1)).provider)
    assert (await act_on_node(fewer, "cordon", "agent-2")).exit_code == 0
    assert asked(world) == [("server-1", ("cordon", "agent-2"))]


async def test_any_server_that_answers_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    wish = spec(1)
    second = Node(name="server-2", role="server", address="10.0.0.12")
    two = World(tmp_path, wish.model_copy(update={"nodes": (wish.nodes[0], second, wish.nodes[1])}))
    enter(two, monkeypatch)
    two.facts["server-1"] = two.facts["server-2"] = world.facts["server-1"]
    two.refuse(server_1=HostUnreachable("no connection", where="server-1"))
    assert (await act_on_node(two.session, "cordon", "agent-1")).exit_code == 0
    assert [call.host for call in two.fleet.calls if call.verb == "node"] == ["server-2"]


async def test_where_no_server_answers_each_says_why(world: World) -> None:
    silent = ClusterFacts(reachable=False, evidence="https://127.0.0.1:6443: connection refused")
    world.facts["server-1"] = replace(world.facts["server-1"], cluster=silent)
    with pytest.raises(StepFailed) as caught:
        await act_on_node(world.session, "cordon", "agent-1")
    assert (caught.value.code, caught.value.exit_code) == ("cluster.no-answer", 5)
    assert caught.value.evidence == "server-1: https://127.0.0.1:6443: connection refused"
    world.refuse(server_1=HostUnreachable("no connection", where="server-1"))
    with pytest.raises(StepFailed) as caught:
        await act_on_node(world.session, "cordon", "agent-1")
    assert caught.value.evidence == "server-1: no connection"


async def test_a_server_of_another_cluster_is_never_asked(world: World) -> None:
    folder, record = world.session.workspace.folder, read_record(world.session.workspace.folder, "edge")
    assert record is not None
    write_record(folder, "edge", replace(record, ca_hash=OTHER_CA))
    with pytest.raises(StepFailed) as caught:
        await act_on_node(world.session, "drain", "agent-1")
    assert "another cluster" in caught.value.evidence
    assert asked(world) == []
