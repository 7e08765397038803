"""`pk3s apply` on this computer alone: the order of its parts, what stops it, and that nothing done is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.answers.made import apply_answer
from productive_k3s_infra.cli.show import applied_lines
from productive_k3s_infra.errors import HostUnreachable, Interrupted, Locked, NotAgreed, ProviderFailed
from productive_k3s_infra.execute.order import InvalidPlan
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.journaled import journaled
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.providers.protocol import OnProgress, Survey, SurveyedMachine
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.record import read_record
from static.contract_program.hosts import CA
from static.fleet_doubles import Call
from static.operations.bed import World, enter
from static.plan.clusters import spec

NAMES = ("server-1", "agent-1", "agent-2")
MISSING = Survey(True, tuple(SurveyedMachine(name, "missing") for name in NAMES))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    return made


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same on machines that a provider is to make."""
    made = World(tmp_path, spec(), machines=MISSING)
    enter(made, monkeypatch)
    return made


async def test_from_nothing_and_a_second_time_nothing(world: World) -> None:
    applied = await apply(world.session, probe=False)
    assert applied.exit_code == 0
    assert [result.step.id for result in applied.results] == [
        "server-1/apply-server",
        "agent-1/apply-agent",
        "agent-2/apply-agent",
    ]
    assert [one for one in world.verbs() if one[1] in ("server", "agent")] == [
        ("server-1", "server"),
        ("agent-1", "agent"),
        ("agent-2", "agent"),
    ]
    record = read_record(world.session.workspace.folder, "edge")
    assert record is not None
    assert record.ca_hash == CA
    assert world.session.workspace.kubeconfig.exists()
    again = await apply(world.session, probe=False)
    assert (again.results, again.exit_code) == ((), 0)
    assert len(world.person.asked) == 1


async def test_nothing_happens_that_nobody_agreed_to(world: World, machines: World) -> None:
    for one in (world, machines):
        one.person.agrees = False
        with pytest.raises(NotAgreed) as caught:
            await apply(one.session, probe=False)
        assert caught.value.code == "plan.not-agreed"
        assert one.verbs() == []
        assert [what for what, _ in one.provider.calls] == ["survey"]


async def test_what_preflight_finds_ends_it_before_anything_is_changed(world: World) -> None:
    world.refuse(agent_1=HostUnreachable("no connection", where="agent-1"))
    applied = await apply(world.session, probe=False)
    assert applied.exit_code == 4
    assert world.verbs() == []
    assert world.person.asked == []
    assert list(applied_lines(applied))[-1] == "Refused: nothing was changed on any host."


async def test_a_server_that_fails_leaves_its_agents_out_and_says_so(world: World) -> None:
    world.instead["server"] = lambda _: Result("failed", failures=(Failure("k3s.broken", "it died"),))
    applied = await apply(world.session, probe=False)
    assert applied.exit_code == 5
    assert [(result.outcome, result.skipped_for) for result in applied.results] == [
        ("failed", ""),
        ("skipped", "server-1/apply-server"),
        ("skipped", "server-1/apply-server"),
    ]
    assert applied.report is None
    assert list(applied_lines(applied))[-1] == "Not applied: 1 of 3 steps failed, 2 skipped, 0 done."


async def test_a_change_that_the_first_agent_does_not_survive_leaves_the_others_as_they_are(world: World) -> None:
    await apply(world.session, probe=False)
    world.instead["agent"] = lambda _: Result("failed", failures=(Failure("k3s.crash-loop", "it died again"),))
    file = world.session.spec
    changed = file.model_copy(update={"k3s": file.k3s.model_copy(update={"agent": {"kubelet-arg": ["max-pods=50"]}})})
    applied = await apply(replace(world.session, spec=changed), probe=False)
    assert [result.outcome for result in applied.results] == ["failed", "skipped"]
    assert applied.as_before == ("agent-2",)
    assert "still on the old settings, because the run did not get to them: agent-2" in list(applied_lines(applied))
    assert apply_answer(applied).as_before == ("agent-2",)


async def test_the_ca_is_recorded_also_when_an_agent_fails(world: World) -> None:
    """Without the record the next run might found a second cluster."""
    world.instead["agent"] = lambda _: Result("failed", failures=(Failure("k3s.broken", "it died"),))
    await apply(world.session, probe=False)
    assert read_record(world.session.workspace.folder, "edge") is not None


async def test_a_kubeconfig_that_cannot_be_fetched_does_not_lose_the_result(world: World) -> None:
    world.instead["kubeconfig"] = lambda _: Result("failed", failures=(Failure("k3s.no-kubeconfig", "not there"),))
    applied = await apply(world.session, probe=False)
    assert [result.outcome for result in applied.results] == ["done"] * 3
    assert applied.report is not None
    assert applied.report.passed
    assert [trouble.code for trouble in applied.troubles] == ["k3s.no-kubeconfig"]
    assert applied.exit_code == 5
    assert any("k3s.no-kubeconfig" in note for note in world.person.notes)


async def test_a_record_that_cannot_be_written_does_not_stop_the_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ProviderFailed("no space", code="workspace.full")

    monkeypatch.setattr("productive_k3s_infra.operations.recording.write_record", full)
    applied = await apply(world.session, probe=False)
    assert [result.outcome for result in applied.results] == ["done"] * 3
    assert {trouble.code for trouble in applied.troubles} == {"workspace.full"}
    assert applied.exit_code == 5


async def test_an_invalid_cluster_is_not_a_good_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, spec())
    enter(world, monkeypatch, Report("edge", "full", (CheckResult("node.ready", "a", False, "error", "no"),)))
    assert (await apply(world.session, probe=False)).exit_code == 6


async def test_machines_are_made_first_and_agreed_to_once(machines: World) -> None:
    applied = await apply(machines.session, probe=False)
    assert applied.exit_code == 0
    ids = [result.step.id for result in applied.results]
    assert ids[:3] == [f"{name}/create-machine" for name in NAMES]
    assert ids[3:] == ["server-1/apply-server", "agent-1/apply-agent", "agent-2/apply-agent"]
    assert [call for call in machines.provider.calls if call[0] != "survey"] == [("create", NAMES)]
    assert len(machines.person.asked) == 1
    assert machines.provider.calls.count(("survey", ())) == 1, "what creating gave is the second look"
    assert ("agent-1", False) in machines.person.ended


async def test_a_machine_that_cannot_be_made_ends_it_with_a_result(machines: World) -> None:
    machines.provider.fails = ProviderFailed("no room", where="agent-2", code="local.start")
    applied = await apply(machines.session, probe=False)
    assert applied.exit_code == 5
    assert {result.failure and result.failure.code for result in applied.results} == {"local.start"}
    assert machines.verbs() == []


async def test_a_machine_that_does_not_run_after_it_was_made_ends_it_with_a_result(machines: World) -> None:
    """A server that crashed right after its start is no reason for a traceback."""
    create = machines.provider.create

    async def crashing(names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        seen = await create(names, on_progress)
        states = (replace(one, state="stopped") if one.name == "agent-2" else one for one in seen.machines)
        machines.provider.seen = replace(seen, machines=tuple(states))
        return machines.provider.seen

    machines.provider.create = crashing  # type: ignore[method-assign]
    applied = await apply(machines.session, probe=False)
    assert [(result.step.id, result.failure and result.failure.code) for result in applied.results][-1] == (
        "agent-2/create-machine",
        "machine.not-running",
    )
    assert applied.exit_code == 5
    assert machines.verbs() == []


async def test_machines_that_change_while_others_are_made_are_refused_not_forgotten(machines: World) -> None:
    """After the stage of the machines there is nothing left to make, or somebody else is at work on them."""
    create = machines.provider.create

    async def losing(names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        made = await create(names, on_progress)
        lost = SurveyedMachine("extra-1", "stopped")
        machines.provider.seen = replace(made, machines=(*made.machines, lost))
        return machines.provider.seen

    machines.provider.create = losing  # type: ignore[method-assign]
    applied = await apply(machines.session, probe=False)
    assert applied.exit_code == 4
    assert [refusal.failure.code for refusal in applied.plan.refusals] == ["machine.changed-meanwhile"]
    assert len(applied.results) == 3
    assert list(applied_lines(applied))[-1].endswith("3 steps on machines had already been done.")


async def test_a_replaced_machine_leaves_goes_comes_and_joins(machines: World) -> None:
    await apply(machines.session, probe=False)
    machines.fleet.calls.clear()
    machines.provider.calls.clear()

    def fresh(names: tuple[str, ...]) -> None:
        for name in names:
            machines.facts[name] = machines.before.facts[name]

    destroy = machines.provider.destroy

    async def destroying(names: tuple[str, ...], on_progress: OnProgress) -> None:
        await destroy(names, on_progress)
        fresh(names)

    machines.provider.destroy = destroying  # type: ignore[method-assign]
    applied = await apply(machines.session, probe=False, replacing=("agent-1",))
    assert [(result.step.id, result.outcome) for result in applied.results] == [
        ("agent-1/remove-node", "done"),
        ("agent-1/destroy-machine", "done"),
        ("agent-1/create-machine", "done"),
        ("agent-1/apply-agent", "done"),
    ]
    assert len(machines.person.asked) == 2, "once for each of the two runs"
    assert applied.exit_code == 0


async def test_a_disruption_that_shows_only_on_real_facts_is_asked_for_again(machines: World) -> None:
    """What was agreed to was planned on assumed facts: the new machine turns out to run a K3s of other flags."""
    await apply(machines.session, probe=False)
    file = machines.session.spec
    changed = file.model_copy(update={"k3s": file.k3s.model_copy(update={"agent": {"kubelet-arg": ["max-pods=50"]}})})
    states = (
        replace(one, state="stopped") if one.name == "agent-1" else one for one in machines.provider.seen.machines
    )
    machines.provider.seen = replace(machines.provider.seen, machines=tuple(states))
    machines.person.asked.clear()
    await apply(replace(machines.session, spec=changed), probe=False)
    assert len(machines.person.asked) == 2
    disruptive = [{step.id for step in plan.disruptive} for plan in machines.person.asked]
    assert "agent-1/apply-agent" in disruptive[1] - disruptive[0]


async def test_a_run_that_is_stopped_says_so_when_it_begins_and_is_interrupted(world: World) -> None:
    begun = asyncio.Event()

    async def hanging(_: Call) -> Result:
        begun.set()
        await asyncio.Event().wait()
        return Result("done")

    world.instead["server"] = hanging  # type: ignore[assignment]
    work = asyncio.ensure_future(apply(world.session, probe=False))
    await asyncio.wait_for(begun.wait(), 30)
    work.cancel()
    with pytest.raises(Interrupted) as caught:
        await asyncio.wait_for(work, 30)
    assert caught.value.journal
    assert world.person.notes[-1].startswith("stopping: each host finishes")


async def test_two_at_once_are_one_too_many(world: World) -> None:
    with journaled(world.session, "destroy"), pytest.raises(Locked):
        await apply(world.session, probe=False)


async def test_a_plan_that_is_none_is_a_bug_that_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "productive_k3s_infra.operations.apply_run.plan_stages"
    steps = (await planned(world)).steps
    monkeypatch.setattr(module, lambda _: Plan("edge", (steps[0], *steps)))
    with pytest.raises(InvalidPlan, match="same id"):
        await apply(world.session, probe=False)
    assert world.verbs() == []


async def planned(world: World) -> Plan:
    from productive_k3s_infra.operations.plan import make_plan

    return (await make_plan(world.session)).plan


class Silence:
    """Server-1's API does not answer the first looks of a run."""

    def __init__(self, world: World, looks: int) -> None:
        self.world, self.left = world, looks

    def __call__(self, call: Call) -> Result:
        facts = self.world.facts[call.host]
        if call.host == "server-1" and self.left > 0:
            self.left -= 1
            assert facts.cluster is not None
            facts = replace(facts, cluster=replace(facts.cluster, reachable=False, nodes=()))
        return Result("done", facts=facts)


def with_a_label(world: World) -> Session:
    file = world.session.spec
    nodes = tuple(
        node.model_copy(update={"labels": {"rack": "r9"}}) if node.name == "agent-1" else node for node in file.nodes
    )
    return replace(world.session, spec=file.model_copy(update={"nodes": nodes}))


def lose_labels(world: World, name: str) -> None:
    """Somebody takes the node's labels away."""
    server = world.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, labels={}) if node.name == name else node for node in server.cluster.nodes)
    world.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=nodes))


async def test_labels_that_could_not_be_compared_are_set_once_the_cluster_answers(world: World) -> None:
    session = with_a_label(world)
    await apply(session, probe=False)
    lose_labels(world, "agent-1")
    world.instead["facts"] = Silence(world, 1)
    applied = await apply(session, probe=False)
    assert any("labels and taints are compared only once" in note for note in world.person.asked[-1].notes)
    done = ["server-1/apply-server", "agent-1/label-node"]
    assert [result.step.id for result in applied.results] == done
    assert [step.id for step in applied.plan.steps] == done
    assert (applied.exit_code, len(world.person.asked)) == (0, 2)
    (call,) = (call for call in world.fleet.calls if call.verb == "node")
    assert (call.host, call.arguments[:2]) == ("server-1", ("label", "agent-1"))


async def test_a_cluster_that_stays_silent_is_not_as_the_file_says(world: World) -> None:
    await apply(world.session, probe=False)
    world.instead["facts"] = Silence(world, 9)
    applied = await apply(world.session, probe=False)
    assert [trouble.code for trouble in applied.troubles] == ["plan.not-compared"]
    assert applied.exit_code == 5


async def test_a_node_that_left_the_file_meanwhile_is_left_to_the_next_run_and_said(world: World) -> None:
    await apply(world.session, probe=False)
    file = world.session.spec
    fewer = file.model_copy(update={"nodes": tuple(node for node in file.nodes if node.name != "agent-2")})
    world.instead["facts"] = Silence(world, 1)
    applied = await apply(replace(world.session, spec=fewer), probe=False)
    assert [result.step.id for result in applied.results] == ["server-1/apply-server"]
    (trouble,) = applied.troubles
    assert (trouble.code, applied.exit_code) == ("plan.more-steps", 5)
    assert "agent-2/remove-node" in trouble.evidence
    assert not [call for call in world.fleet.calls if call.verb == "node"]
