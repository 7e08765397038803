"""`pk3s status`: what is known is said, what is not known is not, and the exit code tells the two apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s_infra.cli.show import status_lines
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.node_status import differences
from productive_k3s_infra.operations.status import get_status, watch_status
from productive_k3s_infra.providers.protocol import Survey, SurveyedMachine
from static.operations.bed import World, enter
from static.plan.clusters import spec

GONE = HostUnreachable("the host refuses connections", where="agent-1")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    await apply(made.session, probe=False)
    return made


async def test_all_is_ready(world: World) -> None:
    found = await get_status(world.session)
    assert found.exit_code == 0
    assert [(host.service, host.ready, host.reached) for host in found.hosts] == [("active", True, True)] * 3
    assert list(status_lines(found))[-1] == "3 of 3 nodes are Ready"


async def test_a_host_that_refuses_connections_does_not_run(world: World) -> None:
    """Nobody made it and nobody watches it: that its address stands in the file says nothing."""
    world.refuse(agent_1=GONE)
    found = await get_status(world.session)
    agent = found.hosts[1]
    assert (agent.machine, agent.service, agent.reached) == ("declared", "", False)
    assert agent.note == "the host refuses connections [ssh.unreachable]"
    assert found.exit_code == 5
    assert list(status_lines(found))[-1] == "2 of 3 nodes are Ready; not reached: agent-1"


async def test_a_node_that_is_not_ready_is_told_by_the_exit_code(world: World) -> None:
    server = world.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, ready=node.name != "agent-2") for node in server.cluster.nodes)
    world.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=nodes))
    found = await get_status(world.session)
    assert (found.exit_code, found.not_ready) == (6, ("agent-2",))


@pytest.mark.parametrize(
    ("restarts", "note"), [(1, "restarted 1 time by systemd"), (2, "restarted 2 times by systemd")]
)
async def test_restarts_are_counted_in_words(world: World, restarts: int, note: str) -> None:
    facts = world.facts["agent-1"]
    (unit,) = facts.k3s.units
    world.facts["agent-1"] = replace(facts, k3s=replace(facts.k3s, units=(replace(unit, restarts=restarts),)))
    assert (await get_status(world.session)).hosts[1].note == note


async def test_a_cluster_that_is_not_there_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Survey(True, tuple(SurveyedMachine(name, "missing") for name in ("server-1", "agent-1", "agent-2")))
    world = World(tmp_path, spec(), machines=missing)
    enter(world, monkeypatch)
    found = await get_status(world.session)
    assert {host.machine for host in found.hosts} == {"missing"}
    assert found.exit_code == 6
    assert world.fleet.calls == []


async def test_what_is_not_as_declared_is_told(world: World) -> None:
    version = world.session.spec.k3s.version
    assert differences(await get_status(world.session), version) == ()
    agent = world.facts["agent-1"]
    world.facts["agent-1"] = replace(agent, k3s=replace(agent.k3s, binary_version="v1.30.0+k3s1"))
    assert differences(await get_status(world.session), version) == (f"not {version}: agent-1 has v1.30.0+k3s1",)
    world.facts["agent-1"] = agent
    server = world.facts["server-1"]
    assert server.cluster is not None
    extra = replace(server.cluster.nodes[0], name="stray")
    world.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=(*server.cluster.nodes, extra)))
    assert differences(await get_status(world.session), version) == ("in the cluster, but not in the file: stray",)
    world.refuse(agent_1=GONE)
    assert "not reached: agent-1" in differences(await get_status(world.session), version)


async def test_watching_looks_again_and_sees_what_changed(world: World) -> None:
    looks = watch_status(world.session, 0)
    assert (await anext(looks)).exit_code == 0
    world.refuse(agent_1=GONE)
    assert (await anext(looks)).unreached == ("agent-1",)
    world.refuse()
    assert (await anext(looks)).exit_code == 0
    await looks.aclose()  # type: ignore[attr-defined]


async def test_watching_goes_on_with_other_machines(world: World) -> None:
    looks = watch_status(world.session, 0)
    await anext(looks)
    gone = tuple(machine for machine in world.provider.seen.machines if machine.name != "agent-2")
    world.provider.seen = replace(world.provider.seen, machines=gone)
    found = await anext(looks)
    assert [host.reached for host in found.hosts] == [True, True, None]
    await looks.aclose()  # type: ignore[attr-defined]
