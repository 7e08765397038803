"""On-prem: a node that the file does not name any more leaves the cluster, and K3s goes from its host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import HostUnreachable, NotAgreed
from productive_k3s_infra.inventory.model import Endpoint, Host
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.destroy import destroy
from productive_k3s_infra.operations.plan import make_plan
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.mark import MARK, leaving_host, reach_of
from productive_k3s_infra.plan.model import Plan, Reach
from productive_k3s_infra.workspace.record import read_record
from static.contract_program.hosts import CA, OTHER_CA, on_k3s
from static.operations.bed import World, enter
from static.plan.clusters import spec

GONE = HostUnreachable("no connection", where="agent-2")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One server and three agents, made by an earlier apply."""
    made = World(tmp_path, spec(3))
    enter(made, monkeypatch)
    await apply(made.session, probe=False)
    made.fleet.calls.clear()
    made.person.asked.clear()
    return made


def naming(world: World, agents: int) -> Session:
    """The same cluster, whose file names so many agents."""
    return replace(world.session, spec=spec(agents), provider=World(Path("/nowhere"), spec(agents)).provider)


def hosts(world: World) -> list[str]:
    record = read_record(world.session.workspace.folder, "edge")
    return sorted(record.hosts) if record is not None else []


async def plan_of(world: World, agents: int) -> Plan:
    return (await make_plan(naming(world, agents))).plan


def relabelled(world: World, name: str, labels: dict[str, str]) -> None:
    server = world.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, labels=labels) if node.name == name else node for node in server.cluster.nodes)
    world.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=nodes))


async def test_an_apply_marks_its_nodes_and_keeps_how_their_hosts_are_reached(world: World) -> None:
    cluster = world.facts["server-1"].cluster
    assert cluster is not None
    assert {node.labels.get(MARK) for node in cluster.nodes} == {"edge"}
    record = read_record(world.session.workspace.folder, "edge")
    assert record is not None
    assert record.hosts["agent-3"] == Reach("10.0.0.23", "root", 22)


async def test_it_is_drained_leaves_and_k3s_goes_from_its_host(world: World) -> None:
    applied = await apply(naming(world, 2), probe=False)
    assert [(result.step.id, result.step.needs, result.outcome) for result in applied.results] == [
        ("agent-3/remove-node", (), "done"),
        ("agent-3/uninstall", ("agent-3/remove-node",), "done"),
    ]
    assert [step.id for step in world.person.asked[0].disruptive] == ["agent-3/remove-node", "agent-3/uninstall"]
    calls = [
        (call.host, call.verb, call.arguments[:2]) for call in world.fleet.calls if call.verb in ("node", "uninstall")
    ]
    assert calls == [
        ("server-1", "node", ("drain", "agent-3")),
        ("server-1", "node", ("remove", "agent-3")),
        ("agent-3", "uninstall", ("--cluster", CA)),
    ]
    assert hosts(world) == ["agent-1", "agent-2", "server-1"]
    assert (await plan_of(world, 2)).is_empty


async def test_a_node_without_our_mark_is_somebody_else_s(world: World) -> None:
    for labels in ({}, {MARK: "another"}):
        relabelled(world, "agent-3", labels)
        plan = await plan_of(world, 2)
        assert plan.is_empty
        assert "in the cluster, but not in the file: agent-3; they are not changed" in plan.notes


async def test_a_host_that_cannot_be_reached_keeps_k3s_and_the_plan_says_what_to_do(world: World) -> None:
    world.refuse(agent_3=GONE)
    applied = await apply(naming(world, 2), probe=False)
    assert [result.step.id for result in applied.results] == ["agent-3/remove-node"]
    (note,) = [note for note in applied.plan.notes if "agent-3" in note]
    assert "K3s stays on root@10.0.0.23:22: no connection" in note
    assert f"productive-k3s uninstall --cluster {CA[:8]} --yes" in note
    assert hosts(world) == ["agent-1", "agent-2", "agent-3", "server-1"], "it may answer one day"
    world.refuse()
    again = await apply(naming(world, 2), probe=False)
    assert [result.step.id for result in again.results] == ["agent-3/uninstall"]
    assert hosts(world) == ["agent-1", "agent-2", "server-1"]


async def test_an_uninstall_that_failed_is_done_by_the_next_apply(world: World) -> None:
    """The node has left already: nothing but the host is left to clean."""
    world.instead["uninstall"] = lambda _: Result("failed", failures=(Failure("host.busy", "held"),))
    applied = await apply(naming(world, 2), probe=False)
    assert applied.exit_code == 5
    assert hosts(world) == ["agent-1", "agent-2", "agent-3", "server-1"]
    world.instead.clear()
    assert [step.id for step in (await plan_of(world, 2)).steps] == ["agent-3/uninstall"]


async def test_a_host_that_belongs_to_another_cluster_by_now_is_left_alone(world: World) -> None:
    world.facts["agent-3"] = on_k3s(world.facts["agent-3"], ca_hash=OTHER_CA)
    plan = await plan_of(world, 2)
    assert [step.id for step in plan.steps] == ["agent-3/remove-node"]
    assert [note for note in plan.notes if "now belongs to another cluster" in note]


async def test_a_node_whose_drain_is_blocked_keeps_its_host(world: World) -> None:
    world.instead["node"] = lambda _: Result("failed", failures=(Failure("node.drain-blocked", "a budget"),))
    applied = await apply(naming(world, 2), probe=False)
    assert [(result.outcome, result.skipped_for) for result in applied.results] == [
        ("failed", ""),
        ("skipped", "agent-3/remove-node"),
    ]
    assert ("agent-3", "uninstall") not in world.verbs()


async def test_a_server_is_not_taken_out_by_leaving_it_out(world: World) -> None:
    server = world.facts["server-1"]
    assert server.cluster is not None
    other = replace(server.cluster.nodes[0], name="server-0", roles=("control-plane",))
    world.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=(*server.cluster.nodes, other)))
    plan = await plan_of(world, 3)
    assert [(item.host, item.failure.code) for item in plan.refusals] == [("server-0", "machine.only-server")]


@pytest.mark.parametrize(
    ("agents", "prune", "agreed"),
    [
        (2, None, False),
        (2, "", True),
        (2, "edge", True),
        (1, None, False),
        (1, "", False),
        (1, "x", False),
        (1, "edge", True),
    ],
)
async def test_unattended_nothing_is_lost_that_was_not_named(
    world: World, agents: int, prune: str | None, agreed: bool
) -> None:
    world.person.unattended = True
    if agreed:
        applied = await apply(naming(world, agents), probe=False, prune=prune)
        assert applied.exit_code == 0
        assert world.person.dies == []
        return
    with pytest.raises(NotAgreed) as caught:
        await apply(naming(world, agents), probe=False, prune=prune)
    assert caught.value.code == "plan.prune"
    assert caught.value.remedy.endswith("--prune" if agents == 2 else "--prune=edge")
    assert world.verbs() == []


async def test_a_person_who_loses_more_than_one_types_the_name(world: World) -> None:
    await apply(naming(world, 2), probe=False)
    assert world.person.dies == []
    await apply(naming(world, 0), probe=False)
    (dies,) = world.person.dies
    assert len(dies) == 2
    assert "K3s on agent-1" in dies[0]


async def test_a_person_who_types_another_name_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.person, "agree_to_destroy", lambda *_: False)
    with pytest.raises(NotAgreed):
        await apply(naming(world, 1), probe=False)
    assert world.verbs() == []


async def test_destroy_takes_hosts_along_that_have_not_been_cleaned_yet(world: World) -> None:
    world.refuse(agent_3=GONE)
    await apply(naming(world, 2), probe=False)
    world.refuse()
    destroyed = await destroy(naming(world, 2))
    assert set(destroyed.gone) == {"agent-1", "agent-2", "agent-3", "server-1"}


def test_the_key_of_all_hosts_is_the_file_s_and_not_committed() -> None:
    """A colleague has it in another place; a host's own key is kept."""
    jump = Endpoint("bastion.example", "jumper", 2222, "/home/me/key", ("ssh-ed25519 AAAA",))
    common = Host("a", "agent", "10.0.0.21", Endpoint("10.0.0.21", "ops", 22, "/home/me/key", jump=jump))
    own = Host("b", "agent", "10.0.0.22", Endpoint("10.0.0.22", "ops", 22, "/srv/own"))
    kept = [reach_of(host, "/home/me/key") for host in (common, own)]
    assert [reach.key for reach in kept] == ["", "/srv/own"]
    assert kept[0].jump == Reach("bastion.example", "jumper", 2222, None, "", "ssh-ed25519 AAAA")
    back = [leaving_host("x", reach, "/home/you/key").endpoint for reach in kept]
    assert [one.key for one in back] == ["/home/you/key", "/srv/own"]
    assert back[0].jump == replace(jump, key="/home/you/key")
