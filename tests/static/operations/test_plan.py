"""`pk3s plan` on this computer alone: it looks everywhere, changes nothing, and its last line is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s_infra.cli.explain import explained_lines
from productive_k3s_infra.cli.show import planned_lines
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.explain import explain
from productive_k3s_infra.operations.plan import make_plan
from productive_k3s_infra.providers.protocol import Survey, SurveyedMachine
from static.operations.bed import World, enter
from static.plan.clusters import spec

GONE = HostUnreachable("no connection", where="agent-1", remedy="is it up?")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    return made


async def test_it_looks_and_changes_nothing(world: World) -> None:
    found = await make_plan(world.session)
    assert [step.id for step in found.plan.steps] == [
        "server-1/apply-server",
        "agent-1/apply-agent",
        "agent-2/apply-agent",
    ]
    assert world.verbs() == []
    assert {call.host for call in world.fleet.calls} == set(world.facts)
    assert found.exit_code == 0


async def test_machines_to_come_are_planned_without_asking_their_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Survey(True, tuple(SurveyedMachine(name, "missing") for name in ("server-1", "agent-1", "agent-2")))
    world = World(tmp_path, spec(), machines=missing)
    enter(world, monkeypatch)
    found = await make_plan(world.session)
    assert [step.id for step in found.plan.of_stage("machines")] == [
        "server-1/create-machine",
        "agent-1/create-machine",
        "agent-2/create-machine",
    ]
    assert [step.needs[0] for step in found.plan.of_stage("cluster")] == [
        "server-1/create-machine",
        "agent-1/create-machine",
        "agent-2/create-machine",
    ]
    assert world.fleet.calls == []


async def test_a_host_that_was_not_reached_is_in_the_last_line(world: World) -> None:
    await apply(world.session, probe=False)
    assert list(planned_lines(await make_plan(world.session)))[-1] == "Nothing to change."
    world.refuse(agent_1=GONE)
    found = await make_plan(world.session)
    assert found.exit_code == 4
    lines = list(planned_lines(found))
    assert "Nothing to change." not in lines
    assert any(line.startswith("error: agent-1: ") for line in lines)
    assert lines[-1] == "Apply would be refused: 1 error (see above); not reached: agent-1."


async def test_what_three_hosts_fail_at_names_once_what_explains_it(world: World) -> None:
    for name, init in {"server-1": "openrc", "agent-1": "openrc", "agent-2": "runit"}.items():
        world.facts[name] = replace(world.facts[name], host=replace(world.facts[name].host, init=init))
    found = await make_plan(world.session)
    lines = list(planned_lines(found))
    assert len([line for line in lines if "[host.init]" in line]) == 2
    assert lines.count("  more: pk3s explain host.init") == 1
    named = [line.rpartition(" ")[2] for line in lines if line.startswith("  more: ")]
    assert sorted(named) == sorted({check.id for check in found.preflight.failed})
    assert [name for name in named if not any(explained_lines(explain(name)))] == []
