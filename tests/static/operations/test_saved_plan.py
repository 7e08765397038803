"""Saved plans: what is applied is what was saved, or nothing; and a run that was cut off goes on with its plan."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import NodeFact, Running
from productive_k3s.contract.failure import Failure
from productive_k3s.k3s import paths
from productive_k3s_infra.answers.made import apply_answer, plan_answer
from productive_k3s_infra.cli.show import applied_lines, planned_lines
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import BadInput, HostUnreachable, Interrupted, NotAgreed, Refused
from productive_k3s_infra.operations.applied import Applied
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.plan import Planned, make_plan
from productive_k3s_infra.operations.saved import open_saved
from productive_k3s_infra.plan.mark import MARK
from productive_k3s_infra.plan.saved import PlanOptions
from productive_k3s_infra.providers.protocol import OnProgress, Survey, SurveyedMachine
from productive_k3s_infra.workspace.journal import list_journals
from static.contract_program.hosts import TOKEN, on_k3s, raw, with_config
from static.fleet_doubles import Call
from static.operations.bed import World, enter
from static.plan.clusters import spec

NAMES = ("server-1", "agent-1", "agent-2")
MISSING = Survey(True, tuple(SurveyedMachine(name, "missing") for name in NAMES))
FROM_NOTHING = ["server-1/apply-server", "agent-1/apply-agent", "agent-2/apply-agent"]
NOTHING = PlanOptions()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One server and two agents on which there never was a K3s, and nobody who would agree to anything."""
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    (tmp_path / "cluster.yaml").write_text("kind: Cluster\n")
    made.person.agrees = False
    return made


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same on machines that a provider is to make."""
    made = World(tmp_path, spec(), machines=MISSING)
    enter(made, monkeypatch)
    (tmp_path / "cluster.yaml").write_text("kind: Cluster\n")
    made.person.agrees = False
    return made


def out_of(world: World) -> Path:
    return world.session.workspace.folder / "edge.plan"


async def save(world: World, **options: Any) -> Planned:
    planned = await make_plan(world.session, out=out_of(world), **options)
    assert planned.out == out_of(world)
    return planned


async def apply_saved(world: World, given: PlanOptions = NOTHING) -> Applied:
    return await apply(world.session, probe=False, saved=open_saved(world.session, out_of(world), given))


async def there(world: World) -> None:
    """The cluster is there."""
    world.person.agrees = True
    assert (await apply(world.session, probe=False)).exit_code == 0
    world.person.agrees = False
    world.person.asked.clear()
    world.fleet.calls.clear()


def wish(world: World, **k3s: Any) -> None:
    """Let the cluster file ask for something else."""
    changed: ClusterSpec = world.session.spec.model_copy(update={"k3s": world.session.spec.k3s.model_copy(update=k3s)})
    world.session = replace(world.session, spec=changed)


def cut_off_at(world: World, verb: str, host: str) -> None:
    """Let the run be stopped while this host works."""

    def stop(call: Call) -> Result:
        if call.host == host:
            raise asyncio.CancelledError
        return World.answer(_without(world, verb), call)

    world.instead[verb] = stop


def _without(world: World, verb: str) -> World:
    kept = dict(world.instead)
    bare = object.__new__(World)
    bare.__dict__ = world.__dict__ | {"instead": {name: one for name, one in kept.items() if name != verb}}
    return bare


async def test_a_fresh_saved_plan_is_carried_out_without_a_question(world: World) -> None:
    planned = await save(world)
    assert list(planned_lines(planned))[-1] == f"Saved: pk3s apply {out_of(world)} does exactly this, or nothing."
    assert plan_answer(planned, exit_code=0).out == str(out_of(world))
    assert world.verbs() == []
    applied = await apply_saved(world)
    assert [result.step.id for result in applied.results] == FROM_NOTHING
    assert (applied.exit_code, world.person.asked) == (0, [])
    assert apply_answer(applied).saved == str(out_of(world))
    assert any("3 steps for edge: + 3 create" in note for note in world.person.notes)


async def test_a_second_time_there_is_nothing_to_change(world: World) -> None:
    await save(world)
    await apply_saved(world)
    again = await apply_saved(world)
    assert (again.results, again.exit_code) == ((), 0)
    assert again.done_before == tuple(FROM_NOTHING)
    assert "Nothing to change." in list(applied_lines(again))


async def test_on_another_computer_too_there_is_nothing_to_change(world: World) -> None:
    """There are no journals that would say what was done."""
    await save(world)
    await apply_saved(world)
    for journal in list_journals(world.session.workspace):
        journal.unlink()
    again = await apply_saved(world)
    assert (again.results, again.exit_code, again.done_before) == ((), 0, ())


async def test_a_host_whose_file_was_changed_is_said_and_nothing_is_touched(world: World) -> None:
    await there(world)
    wish(world, agent={"kubelet-arg": ["max-pods=50"]})
    await save(world)
    _write_config(world, "agent-2", "debug: true\n")
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert (caught.value.code, caught.value.exit_code) == ("plan.stale", 4)
    assert "agent-2/apply-agent differs: " in caught.value.evidence
    assert "write:/etc/rancher/k3s/config.yaml differs" in caught.value.evidence
    assert "agent-1" not in caught.value.evidence
    assert world.verbs() == []


def _write_config(world: World, host: str, more: str, *, restarted: bool = False) -> None:
    """Somebody adds a line to the configuration, and has K3s read it or not."""
    facts = world.facts[host]
    config = next(item for item in facts.k3s.config_files if item.path == paths.CONFIG)
    facts = with_config(facts, raw(config) + more)
    world.facts[host] = on_k3s(facts, running=Running("recorded", facts.k3s.on_disk)) if restarted else facts


async def test_a_step_that_has_appeared_is_said(world: World) -> None:
    await there(world)
    _stop(world, "agent-1")
    await save(world)
    _stop(world, "agent-2")
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert "agent-2/apply-agent is new: it is not running" in caught.value.evidence
    assert world.verbs() == []


def _stop(world: World, host: str) -> None:
    """Somebody stopped K3s on a host."""
    facts = world.facts[host]
    stopped = (replace(one, active_state="inactive", sub_state="dead") for one in facts.k3s.units)
    world.facts[host] = on_k3s(facts, units=tuple(stopped))


async def test_what_somebody_else_did_is_said(world: World) -> None:
    """What is gone was done by nobody who had this plan: the rest of it may be wrong now."""
    await there(world)
    as_before = dict(world.facts)
    wish(world, agent={"kubelet-arg": ["max-pods=50"]})
    await save(world)
    world.person.agrees = True
    await apply(world.session, probe=False)
    world.facts["agent-1"] = as_before["agent-1"]
    world.fleet.calls.clear()
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert "agent-2/apply-agent is no longer needed; it was planned because: " in caught.value.evidence
    assert world.verbs() == []


async def test_equal_differences_of_many_hosts_are_told_once(world: World) -> None:
    await there(world)
    _stop(world, "server-1")
    await save(world)
    for name in ("agent-1", "agent-2"):
        _stop(world, name)
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert "apply-agent on agent-1, agent-2 is new: it is not running" in caught.value.evidence


async def test_a_host_that_is_not_reached_is_told_as_ever(world: World) -> None:
    await save(world)
    world.refuse(agent_1=HostUnreachable("no connection", where="agent-1"))
    applied = await apply_saved(world)
    assert applied.exit_code == 4
    assert apply_answer(applied).error is not None
    assert "agent-1" in {check.subject for check in applied.preflight.failed if check.severity == "error"}
    assert world.verbs() == []


async def test_a_run_that_was_cut_off_goes_on_with_its_plan(world: World) -> None:
    """Steps that it did are gone, others have other reasons: the cluster that it founded is recorded now."""
    await save(world)
    cut_off_at(world, "agent", "agent-2")
    with pytest.raises(Interrupted):
        await apply_saved(world)
    world.instead.clear()
    applied = await apply_saved(world)
    assert applied.exit_code == 0
    assert [result.step.id for result in applied.results] == ["agent-2/apply-agent"]
    assert applied.done_before == ("server-1/apply-server", "agent-1/apply-agent")
    assert "already done by this plan: server-1/apply-server, agent-1/apply-agent" in world.person.notes
    assert world.person.asked == []


async def test_a_run_whose_step_failed_goes_on_with_its_plan(world: World) -> None:
    await save(world)
    world.instead["agent"] = lambda _: Result("failed", failures=(Failure("k3s.broken", "it died"),))
    assert (await apply_saved(world)).exit_code == 5
    world.instead.clear()
    applied = await apply_saved(world)
    assert (applied.exit_code, applied.done_before) == (0, ("server-1/apply-server",))


async def test_after_a_cut_too_the_world_must_not_have_changed(world: World) -> None:
    await there(world)
    wish(world, agent={"kubelet-arg": ["max-pods=50"]})
    await save(world)
    cut_off_at(world, "agent", "agent-2")
    with pytest.raises(Interrupted):
        await apply_saved(world)
    world.instead.clear()
    calls = len(world.verbs())
    as_cut = dict(world.facts)
    for host, more in (("agent-2", "debug: true\n"), ("server-1", "debug: true\n")):
        world.facts.update(as_cut)
        _write_config(world, host, more)
        with pytest.raises(Refused) as caught:
            await apply_saved(world)
        assert host in caught.value.evidence
    assert len(world.verbs()) == calls


async def test_machines_to_come_hold_to_the_end_of_their_stage(machines: World) -> None:
    await save(machines)
    applied = await apply_saved(machines)
    assert applied.exit_code == 0
    assert [result.step.id for result in applied.results][-3:] == FROM_NOTHING
    assert machines.person.asked == []


@pytest.mark.parametrize("interrupts", [True, False])
async def test_what_real_facts_add_is_done_unless_it_interrupts(
    interrupts: bool, machines: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one machine is made, somebody changes another's configuration, or takes the labels of its node."""
    await there(machines)
    _lose_machine(machines, "agent-2")
    await save(machines)
    make = machines.provider.create

    async def create(names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        if interrupts:
            _write_config(machines, "agent-1", "debug: true\n", restarted=True)
        else:
            _take_labels(machines, "agent-1")
        return await make(names, on_progress)

    monkeypatch.setattr(machines.provider, "create", create)
    if not interrupts:
        applied = await apply_saved(machines)
        assert applied.exit_code == 0
        assert {"agent-1/label-node", "agent-2/apply-agent"} <= {result.step.id for result in applied.results}
        return
    with pytest.raises(Refused) as caught:
        await apply_saved(machines)
    assert caught.value.code == "plan.stale"
    assert "1 step on machines had already been done, and no host was changed" in caught.value.what
    assert caught.value.evidence.startswith("agent-1/apply-agent is new: ")
    assert machines.verbs() == []


def _take_labels(world: World, name: str) -> None:
    server = world.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, labels={}) if node.name == name else node for node in server.cluster.nodes)
    world.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=nodes))


def _lose_machine(world: World, name: str) -> None:
    seen = world.provider.seen
    left = (replace(one, state="missing", location=None) if one.name == name else one for one in seen.machines)
    world.provider.seen = replace(seen, machines=tuple(left))
    world.facts[name] = world.before.facts[name]


async def test_a_machine_is_made_anew_once(machines: World) -> None:
    """Also where no journal says that it was done: it is another machine now."""
    await there(machines)
    await save(machines, replacing=("agent-2",))
    made = machines.provider.calls.count(("destroy", ("agent-2",)))
    cut_off_at(machines, "agent", "agent-2")
    _renew_on_create(machines, "agent-2")
    with pytest.raises(Interrupted):
        await apply_saved(machines)
    machines.instead.clear()
    for journal in list_journals(machines.session.workspace):
        journal.unlink()
    with pytest.raises(Refused):  # nothing says that its steps were done by this plan
        await apply_saved(machines)
    await save(machines)
    assert (await apply_saved(machines)).exit_code == 0
    assert machines.provider.calls.count(("destroy", ("agent-2",))) == made + 1


async def test_a_cut_run_does_not_make_the_machine_anew_once_more(machines: World) -> None:
    await there(machines)
    await save(machines, replacing=("agent-2",))
    cut_off_at(machines, "agent", "agent-2")
    _renew_on_create(machines, "agent-2")
    with pytest.raises(Interrupted):
        await apply_saved(machines)
    machines.instead.clear()
    applied = await apply_saved(machines)
    assert applied.exit_code == 0
    assert [result.step.id for result in applied.results] == ["agent-2/apply-agent"]
    assert machines.provider.calls.count(("destroy", ("agent-2",))) == 1


def _renew_on_create(world: World, name: str) -> None:
    """A machine that is made is another one, and empty."""
    make = world.provider.create

    async def create(names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        if name in names:
            fresh = world.before.facts[name]
            world.facts[name] = replace(fresh, host=replace(fresh.host, machine_id=f"{len(world.provider.calls):032x}"))
        return await make(names, on_progress)

    world.provider.create = create  # type: ignore[method-assign]


async def test_machines_that_a_cut_run_made_are_made_once(machines: World) -> None:
    await save(machines)
    cut_off_at(machines, "server", "server-1")
    with pytest.raises(Interrupted):
        await apply_saved(machines)
    machines.instead.clear()
    applied = await apply_saved(machines)
    assert applied.exit_code == 0
    assert [result.step.id for result in applied.results] == FROM_NOTHING
    assert applied.done_before == tuple(f"{name}/create-machine" for name in NAMES)
    assert [what for what, _ in machines.provider.calls].count("create") == 1


def test_nothing_is_read_as_a_plan_that_is_none(world: World) -> None:
    file = out_of(world)
    for text in (
        "",
        "{}",
        "[]",
        '{"kind": "Cluster"}',
        "apiVersion: productive-k3s/v1alpha1\n",
        "\0\xff",
        "[" * 100_000,
    ):
        file.write_text(text)
        with pytest.raises(BadInput) as caught:
            open_saved(world.session, file, NOTHING)
        assert caught.value.code == "plan.unreadable"
        assert caught.value.where == str(file)
        assert "-f" in caught.value.remedy


def test_a_plan_that_is_not_there_is_said(world: World) -> None:
    with pytest.raises(BadInput) as caught:
        open_saved(world.session, out_of(world), NOTHING)
    assert caught.value.code == "workspace.missing"


async def test_a_cut_or_altered_plan_is_none(world: World) -> None:
    await save(world)
    text = out_of(world).read_text()
    out_of(world).write_text(text[: len(text) // 2])
    with pytest.raises(BadInput, match="not a saved plan") as caught:
        open_saved(world.session, out_of(world), NOTHING)
    assert caught.value.evidence == "it is cut off"
    document = json.loads(text)

    def more(step: dict[str, Any]) -> None:
        step["request"]["more"] = 1

    alterations: tuple[Callable[[dict[str, Any]], object], ...] = (
        more,
        lambda step: step.update(action="format-disk"),
        lambda step: step.pop("reason"),
        lambda step: step.update(impact="none"),
    )
    for alter in alterations:
        altered = json.loads(text)
        alter(altered["plan"]["steps"][0])
        assert altered != document
        out_of(world).write_text(json.dumps(altered))
        with pytest.raises(BadInput) as caught:
            open_saved(world.session, out_of(world), NOTHING)
        assert caught.value.code == "plan.unreadable", altered["plan"]["steps"][0]


@pytest.mark.parametrize(("key", "value"), [("format", 2), ("format", None), ("pk3s", "0.0.9"), ("program", "0" * 64)])
async def test_a_plan_of_another_pk3s_is_refused(key: str, value: object, world: World) -> None:
    await save(world)
    document = json.loads(out_of(world).read_text())
    out_of(world).write_text(json.dumps({**document, key: value}))
    with pytest.raises(BadInput) as caught:
        open_saved(world.session, out_of(world), NOTHING)
    assert caught.value.code == "plan.other-version"
    assert str(value)[:12] in caught.value.evidence


async def test_a_plan_of_another_cluster_or_file_is_refused(world: World) -> None:
    await save(world)
    other = world.session.spec.model_copy(update={"name": "core"})
    with pytest.raises(BadInput, match="for another cluster, edge") as caught:
        open_saved(replace(world.session, spec=other), out_of(world), NOTHING)
    assert caught.value.code == "plan.other-cluster"
    world.session.workspace.cluster_file.write_text("kind: Cluster\n# changed\n")
    with pytest.raises(BadInput, match="has changed since the plan was made") as caught:
        open_saved(world.session, out_of(world), NOTHING)
    assert caught.value.code == "plan.other-file"


async def test_options_hold_as_the_plan_was_made(world: World) -> None:
    await there(world)
    wish(world, agent={"kubelet-arg": ["max-pods=50"]})
    await save(world, limit=frozenset({"agent-1"}))
    for given in (PlanOptions(limit=("agent-2",)), PlanOptions(new_cluster=True), PlanOptions(replacing=("agent-1",))):
        with pytest.raises(BadInput) as caught:
            await apply_saved(world, given)
        assert caught.value.code == "plan.beside"
    applied = await apply_saved(world, PlanOptions(limit=("agent-1",)))
    assert [result.step.id for result in applied.results] == ["agent-1/apply-agent"]
    assert applied.plan.limit == ("agent-1",)


async def test_what_is_lost_is_named_when_the_plan_is_made(world: World) -> None:
    await there(world)
    fewer = tuple(node for node in world.session.spec.nodes if node.name == "server-1")
    world.session = replace(world.session, spec=world.session.spec.model_copy(update={"nodes": fewer}))
    for prune in (None, "", "core"):
        with pytest.raises(NotAgreed) as caught:
            await save(world, prune=prune)
        assert (caught.value.code, out_of(world).exists()) == ("plan.prune", False)
    await save(world, prune="edge")
    assert (await apply_saved(world)).exit_code == 0
    assert [verb for _, verb in world.verbs()].count("uninstall") == 2
    assert world.person.asked == []


def _of_the_cluster(world: World) -> tuple[NodeFact, ...]:
    cluster = world.facts["server-1"].cluster
    assert cluster is not None
    return cluster.nodes


def _with_nodes(world: World, nodes: Iterable[NodeFact]) -> None:
    server = world.facts["server-1"]
    assert server.cluster is not None
    world.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=tuple(nodes)))


def _leave(world: World, name: str) -> None:
    """Somebody takes a node out of the cluster, and K3s off its host."""
    _with_nodes(world, (node for node in _of_the_cluster(world) if node.name != name))
    world.facts[name] = world.before.facts[name]


def _appear(world: World, name: str, labels: dict[str, str]) -> None:
    """Somebody joins a host with the labels that it has in a file of theirs."""
    nodes = _of_the_cluster(world)
    _with_nodes(world, (*nodes, replace(nodes[-1], name=name, labels=labels)))


async def test_a_node_that_has_left_is_said(world: World) -> None:
    """It would join anew, and nobody has read that."""
    await there(world)
    wish(world, agent={"kubelet-arg": ["max-pods=50"]})
    await save(world)
    _leave(world, "agent-2")
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert caught.value.code == "plan.stale"
    assert "start:k3s-agent is new" in caught.value.evidence.partition("agent-2/apply-agent differs: ")[2]
    assert world.verbs() == []


async def test_a_node_that_has_left_though_nothing_was_planned_for_it_is_said(world: World) -> None:
    await there(world)
    _stop(world, "agent-1")
    await save(world)
    _leave(world, "agent-2")
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert caught.value.evidence.startswith("agent-2/apply-agent is new: ")
    assert world.verbs() == []


async def test_a_node_that_has_appeared_is_not_lost_by_a_plan_without_it(world: World) -> None:
    """It has the mark of this cluster, and the file does not name it: somebody else's file does."""
    await there(world)
    wish(world, agent={"kubelet-arg": ["max-pods=50"]})
    await save(world)
    _appear(world, "agent-9", {MARK: "edge"})
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert caught.value.code == "plan.stale"
    assert caught.value.evidence.startswith("agent-9/remove-node is new: the node is no longer in the file")
    assert world.verbs() == []


async def test_a_node_that_somebody_else_has_joined_is_not_in_the_way(world: World) -> None:
    """Without the mark it is left alone, now as ever."""
    await there(world)
    wish(world, agent={"kubelet-arg": ["max-pods=50"]})
    await save(world)
    _appear(world, "guest", {})
    applied = await apply_saved(world)
    assert [result.step.id for result in applied.results] == ["agent-1/apply-agent", "agent-2/apply-agent"]
    assert "in the cluster, but not in the file: guest; they are not changed" in applied.plan.notes
    assert "guest" in {node.name for node in _of_the_cluster(world)}


async def test_a_node_that_was_to_leave_and_is_gone_is_said(world: World) -> None:
    """As long as there is something left to do; where there is not, nothing is in the way."""
    await there(world)
    fewer = tuple(node for node in world.session.spec.nodes if node.name == "server-1")
    world.session = replace(world.session, spec=world.session.spec.model_copy(update={"nodes": fewer}))
    await save(world, prune="edge")
    _leave(world, "agent-2")
    with pytest.raises(Refused) as caught:
        await apply_saved(world)
    assert (
        "agent-2/remove-node is no longer needed; it was planned because: the node is no longer in the file"
        in caught.value.evidence
    )
    assert "agent-1" not in caught.value.evidence
    assert world.verbs() == []
    _leave(world, "agent-1")
    applied = await apply_saved(world)
    assert (applied.results, applied.exit_code) == ((), 0)


async def test_prune_without_a_file_is_refused(world: World) -> None:
    with pytest.raises(BadInput) as caught:
        await make_plan(world.session, prune="edge")
    assert caught.value.code == "plan.beside"


async def test_a_plan_that_would_be_refused_is_not_saved(world: World) -> None:
    world.refuse(agent_1=HostUnreachable("no connection", where="agent-1"))
    planned = await make_plan(world.session, out=out_of(world))
    assert (planned.exit_code, planned.out, out_of(world).exists()) == (4, None, False)


async def test_only_this_user_reads_it_and_only_a_plan_is_replaced(world: World) -> None:
    await save(world)
    assert stat.S_IMODE(out_of(world).stat().st_mode) == 0o600
    out_of(world).chmod(0o644)
    await save(world)
    assert stat.S_IMODE(out_of(world).stat().st_mode) == 0o600
    cluster_file = world.session.workspace.cluster_file
    with pytest.raises(BadInput) as caught:
        await make_plan(world.session, out=cluster_file)
    assert caught.value.code == "plan.out-exists"
    assert cluster_file.read_text() == "kind: Cluster\n"


async def test_there_is_no_secret_in_it(world: World) -> None:
    """Neither the token that agents join with, nor what the file holds of a registry."""
    registries = {"configs": {"r.example": {"auth": {"username": "u", "password": "hunter2-hunter2"}}}}
    wish(
        world,
        registries=type(world.session.spec.k3s)
        .model_validate({**world.session.spec.k3s.model_dump(), "registries": registries})
        .registries,
    )
    await save(world)
    text = out_of(world).read_text()
    assert "r.example" in text
    assert "hunter2" not in text
    assert TOKEN not in text
    assert "K10" not in text
    await apply_saved(world)
    await save(world)
    assert TOKEN not in out_of(world).read_text()
    assert yaml.safe_load(out_of(world).read_text())["plan"] == encode((await make_plan(world.session)).plan)
