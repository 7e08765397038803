"""`--limit` on this computer alone: who is asked, what is changed and written down, and what is left as it is."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from productive_k3s.contract.events import Result
from productive_k3s.verbs.probe import LISTENING
from productive_k3s_infra.cli.app import app
from productive_k3s_infra.cli.show import applied_lines
from productive_k3s_infra.errors import BadInput, HostUnreachable, NotAgreed
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.plan import make_plan
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.providers.protocol import Survey, SurveyedMachine
from productive_k3s_infra.workspace.record import read_record
from static.contract_program.hosts import VERSION
from static.fleet_doubles import Call, FakeSession
from static.operations.bed import World, enter
from static.plan.clusters import spec

GONE = HostUnreachable("no connection", where="a host")
ONE = frozenset({"agent-2"})
FLAG = {"kubelet-arg": ["max-pods=200"]}
LAST = "Only agent-2 (--limit): other nodes, machines and the full validation were left out."


class Opened:
    """Which sessions were opened, and for which hosts a fleet was made."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions: set[str] = set()
        self.fleets: list[set[str]] = []
        real = world.fleet.session

        async def session(host: str) -> FakeSession:
            self.sessions.add(host)
            return await real(host)

        def fleet(inventory: Inventory, **_: Any) -> Any:
            self.fleets.append({host.name for host in inventory.hosts})
            return world.fleet

        monkeypatch.setattr(world.fleet, "session", session)
        monkeypatch.setattr("productive_k3s_infra.operations.session.SshFleet", fleet)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One server and three agents, made by an earlier apply."""
    made = World(tmp_path, spec(3))
    enter(made, monkeypatch)
    monkeypatch.setattr("productive_k3s_infra.operations.validate.image_list", lambda *_: ())
    await apply(made.session, probe=False)
    made.fleet.calls.clear()
    made.person.asked.clear()
    return made


@pytest.fixture
def opened(world: World, monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(world, monkeypatch)


def wishing(world: World, agents: int = 3, **wishes: object) -> Session:
    """The same cluster under a file that wants another flag of its agents."""
    wish = spec(agents, **{"agent": FLAG, **wishes})
    return replace(world.session, spec=wish, provider=World(Path("/nowhere"), wish).provider)


def record_of(world: World) -> ClusterRecord:
    record = read_record(world.session.workspace.folder, "edge")
    assert record is not None
    return record


async def test_only_the_named_node_is_changed_and_the_rest_is_still_planned(world: World) -> None:
    applied = await apply(wishing(world), probe=False, limit=ONE)
    assert [(result.step.id, result.outcome) for result in applied.results] == [("agent-2/apply-agent", "done")]
    assert applied.exit_code == 0
    assert list(applied_lines(applied))[-1] == LAST
    assert (await make_plan(wishing(world), limit=ONE)).plan.is_empty
    left = (await make_plan(wishing(world))).plan
    assert [step.id for step in left.steps] == ["agent-1/apply-agent", "agent-3/apply-agent"]


async def test_hosts_of_others_are_not_even_connected_to(world: World, opened: Opened) -> None:
    world.refuse(agent_1=GONE)
    planned = await make_plan(wishing(world), limit=ONE)
    assert planned.exit_code == 0
    applied = await apply(wishing(world), limit=ONE)
    assert applied.exit_code == 0
    assert opened.sessions == {"server-1", "agent-2"}
    assert opened.fleets == [{"server-1", "agent-2"}] * 2


async def test_ports_of_a_new_agent_are_tried_between_it_and_the_servers_alone(world: World, opened: Opened) -> None:
    world.refuse(agent_1=GONE)
    wish = wishing(world, 4, agent={})
    bigger = World(Path("/nowhere"), spec(4))
    world.facts["agent-4"] = bigger.facts["agent-4"]
    world.fleet.answers = dict.fromkeys(world.facts, world.answer)

    def probe(call: Call) -> Result:
        call.say(LISTENING)
        words = call.arguments
        tried = [at + 1 for at, word in enumerate(words) if word == "--connect"]
        return Result("done", data={words[at]: dict.fromkeys(words[at + 1].split(","), "") for at in tried})

    world.instead["probe"] = probe
    applied = await apply(wish, limit=frozenset({"agent-4"}))
    assert [result.step.id for result in applied.results] == ["agent-4/apply-agent"]
    assert opened.sessions == {"server-1", "agent-4"}
    assert {call.host for call in world.fleet.calls if call.verb == "probe"} == {"server-1", "agent-4"}
    tried = {check.subject for check in applied.preflight.checks if check.id == "net.reach"}
    assert "server-1 to agent-4 tcp/10250" in tried
    assert "agent-4 to server-1 tcp/6443" in tried


async def test_a_named_host_that_does_not_answer_stops_the_run(world: World) -> None:
    world.refuse(agent_2=GONE)
    applied = await apply(wishing(world), probe=False, limit=ONE)
    assert applied.exit_code == 4
    assert world.verbs() == []
    lines = list(applied_lines(applied))
    assert lines[-2:] == ["Refused: nothing was changed on any host.", LAST]


async def test_a_server_that_does_not_answer_stops_nobody_who_does_not_need_it(world: World) -> None:
    world.refuse(server_1=GONE)
    unneeded = await make_plan(world.session, limit=ONE)
    assert (unneeded.exit_code, unneeded.plan.is_empty) == (0, True)
    assert "labels and taints were not compared" in unneeded.plan.notes[0]
    applied = await apply(wishing(world), probe=False, limit=ONE)
    assert applied.exit_code == 4
    assert [check.id for check in applied.preflight.failed if check.severity == "error"] == ["limit.no-server"]
    assert world.verbs() == []


async def test_what_all_nodes_have_to_be_seen_for_is_left_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = world.session.workspace
    workspace.kubeconfig.unlink()
    inventory = workspace.inventory.read_bytes()
    workspace.inventory.write_bytes(inventory + b"\n")

    async def none(*_: object, **__: object) -> None:
        raise AssertionError("nothing is validated")

    monkeypatch.setattr("productive_k3s_infra.operations.afterwards.validate_with", none)
    monkeypatch.setattr("productive_k3s_infra.operations.assemble.expected", none)
    applied = await apply(wishing(world), probe=False, limit=ONE)
    assert applied.report is None
    assert not workspace.kubeconfig.exists()
    assert workspace.inventory.read_bytes() == inventory + b"\n"


async def test_new_agents_are_joined_without_a_validation_ahead(world: World) -> None:
    await apply(replace(world.session, spec=spec(2), provider=wishing(world, 2).provider), probe=False)
    world.fleet.calls.clear()
    applied = await apply(world.session, probe=False, limit=frozenset({"agent-3"}))
    assert [result.step.id for result in applied.results] == ["agent-3/apply-agent"]
    assert [call.arguments for call in world.fleet.calls if call.verb == "validate"] == [("--note", "")]


async def test_a_change_lets_the_next_whole_apply_validate_in_full(world: World) -> None:
    """It is noted before anything is changed, so also for a run that is cut off."""
    await apply(wishing(world), probe=False, limit=ONE)
    said = [(call.host, call.verb, call.arguments[:2]) for call in world.fleet.calls if call.verb != "facts"]
    assert said[0] == ("server-1", "validate", ("--note", ""))
    assert ("agent-2", "agent") in [one[:2] for one in said[1:]]
    world.fleet.calls.clear()
    await apply(wishing(world), probe=False, limit=ONE)
    assert world.verbs() == [], "nothing was changed"


async def test_that_it_cannot_be_noted_is_said(world: World) -> None:
    world.instead["validate"] = lambda _: Result("failed")
    applied = await apply(wishing(world), probe=False, limit=ONE)
    assert applied.exit_code == 0
    assert [note for note in world.person.notes if "run pk3s validate" in note]


async def test_what_nobody_agreed_to_notes_nothing(world: World) -> None:
    world.person.agrees = False
    with pytest.raises(NotAgreed):
        await apply(wishing(world), probe=False, limit=ONE)
    assert world.verbs() == []


async def test_the_record_keeps_what_it_says_of_hosts_that_were_not_looked_at(world: World) -> None:
    before = record_of(world)
    assert set(before.hosts) == {"server-1", "agent-1", "agent-2", "agent-3"}
    moved = wishing(world, 2)
    nodes = tuple(
        node.model_copy(update={"address": "10.0.0.99"}) if node.name == "agent-1" else node
        for node in moved.spec.nodes
    )
    changed = moved.spec.model_copy(update={"nodes": nodes})
    provider = World(Path("/nowhere"), changed).provider
    await apply(replace(moved, spec=changed, provider=provider), probe=False, limit=ONE)
    assert record_of(world) == before, "agent-3 still leaves one day, and nobody was at agent-1's new address"


async def test_a_node_that_leaves_is_removed_alone_and_forgotten_alone(world: World) -> None:
    """Its removal is guarded as ever; of the others nothing is done, whatever the file wants by now."""
    wish = wishing(world, 1)
    world.person.unattended = True
    with pytest.raises(NotAgreed) as caught:
        await apply(wish, probe=False, limit=ONE)
    assert caught.value.code == "plan.prune"
    assert caught.value.where == "agent-2"
    applied = await apply(wish, probe=False, limit=ONE, prune="")
    assert [result.step.id for result in applied.results] == ["agent-2/remove-node", "agent-2/uninstall"]
    assert set(record_of(world).hosts) == {"server-1", "agent-1", "agent-3"}
    assert {call.host for call in world.fleet.calls} == {"server-1", "agent-2"}


async def test_a_version_that_no_server_was_given_is_not_recorded(world: World) -> None:
    wish = wishing(world, 2).spec
    newer = wish.model_copy(update={"k3s": wish.k3s.model_copy(update={"version": "v1.36.9+k3s1"})})
    session = replace(world.session, spec=newer)
    applied = await apply(session, probe=False, limit=frozenset({"agent-3"}))
    assert applied.exit_code == 0
    assert record_of(world).version == VERSION


async def test_unknown_names_are_one_error_and_change_nothing(world: World, opened: Opened) -> None:
    for work in (make_plan(world.session, limit=frozenset({"agnet-2"})), apply(world.session, limit=ONE | {"x"})):
        with pytest.raises(BadInput) as caught:
            await work
        assert caught.value.code == "limit.unknown"
        assert caught.value.remedy == "these may be named: server-1, agent-1, agent-2, agent-3"
    assert opened.sessions <= {"server-1", "agent-2"}
    assert world.verbs() == []


async def test_what_concerns_all_nodes_is_refused_before_anything_is_looked_at(world: World) -> None:
    world.provider.calls.clear()
    for work in (
        apply(world.session, limit=ONE, new_cluster=True),
        apply(world.session, limit=ONE, replacing=("agent-1",)),
        make_plan(world.session, limit=ONE, new_cluster=True),
        make_plan(world.session, limit=ONE, replacing=("agent-1",)),
    ):
        with pytest.raises(BadInput) as caught:
            await work
        assert caught.value.code == "limit.beside"
    assert world.provider.calls == []


async def test_machines_are_left_out(world: World) -> None:
    """One that is missing is made by nobody, and whoever names it is told so."""
    seen = [replace(one, state="running") for one in world.provider.seen.machines if one.name != "agent-1"]
    world.provider.seen = Survey(True, (*seen, SurveyedMachine("agent-1", "missing")))
    applied = await apply(replace(wishing(world), provider=world.provider), probe=False, limit=ONE)
    assert [result.step.id for result in applied.results] == ["agent-2/apply-agent"]
    assert {what for what, _ in world.provider.calls} == {"survey"}
    refused = await make_plan(world.session, limit=frozenset({"agent-1"}))
    assert refused.exit_code == 4
    (check,) = [check for check in refused.preflight.failed if check.severity == "error"]
    assert (check.id, check.message) == ("limit.no-machine", "has no machine yet")
    assert "agent-1" not in {check.subject for check in refused.preflight.checks if check.passed}


def test_the_command_line_hands_it_on_and_says_it_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, spec(3))
    enter(world, monkeypatch)
    asyncio.run(apply(world.session, probe=False))
    wish = wishing(world)
    monkeypatch.setattr("productive_k3s_infra.operations.session.open_session", lambda *_: wish)
    runner = CliRunner()
    named = ["--limit", "agent-2, agent-3", "--limit", "agent-2"]
    both = "Only agent-2, agent-3 (--limit): other nodes, machines and the full validation were left out."
    planned = runner.invoke(app, ["plan", *named])
    assert (planned.exit_code, planned.stdout.splitlines()[-1]) == (0, both)
    document = json.loads(runner.invoke(app, ["plan", "-o", "json", *named]).stdout)
    assert document["limit"] == document["plan"]["limit"] == ["agent-2", "agent-3"]
    applied = runner.invoke(app, ["apply", "-y", "--no-probe", "--limit", "agent-2"])
    assert (applied.exit_code, applied.stdout.splitlines()[-1]) == (0, LAST)
    again = runner.invoke(app, ["apply", "-y", "--no-probe", "-o", "json", "--limit", "agent-2"])
    assert json.loads(again.stdout)["limit"] == ["agent-2"]
    for words in (["--limit", ""], ["--limit", "agent-2,"], ["--limit", "nobody"], [*named, "--new-cluster"]):
        assert runner.invoke(app, ["plan", *words]).exit_code == 2
