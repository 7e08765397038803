"""The plan as a value: order, reasons, what is left alone, and that executing it leaves nothing to do."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productive_k3s.contract.codec import encode
from productive_k3s.contract.facts import FileFact, K3sFacts
from productive_k3s.contract.request import Watch
from productive_k3s.contract.secret import Secret
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import assess
from productive_k3s.plan.effective import is_member
from productive_k3s_infra.cluster_file.model import Rollout
from productive_k3s_infra.inventory.build import build_inventory
from productive_k3s_infra.plan.model import ClusterRecord, Plan
from productive_k3s_infra.plan.requests import Situation, registration_url, request_for
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, LabelNode, StageArtifacts
from productive_k3s_infra.plan.text import plan_lines
from static.contract_program.hosts import CA, OTHER_CA, TOKEN, fresh, on_k3s
from static.plan.clusters import BINARY, IMAGES, executed, situation, spec, wish_again, with_survey


def ids(plan: Plan) -> list[str]:
    return [step.id for step in plan.steps]


def running(agents: int = 2, **wishes: object) -> Situation:
    """A cluster that an earlier apply made."""
    before = situation(spec(agents, **wishes))
    return executed(before, plan_stages(before))


def test_from_nothing_the_server_comes_first_and_agents_need_only_it() -> None:
    plan = plan_stages(situation(spec(3)))
    assert ids(plan) == ["server-1/apply-server", *(f"agent-{n}/apply-agent" for n in (1, 2, 3))]
    assert [step.needs for step in plan.steps] == [(), *[("server-1/apply-server",)] * 3]
    assert {step.reason for step in plan.steps} == {"K3s is not installed"}


def test_pushed_artifacts_travel_to_the_server_first_and_to_agents_before_it_is_ready() -> None:
    plan = plan_stages(situation(spec(1), pushed=True))
    assert ids(plan) == [
        "server-1/stage-artifacts",
        "server-1/apply-server",
        "agent-1/stage-artifacts",
        "agent-1/apply-agent",
    ]
    needs = {step.id: step.needs for step in plan.steps}
    assert needs["server-1/stage-artifacts"] == ()
    assert needs["agent-1/stage-artifacts"] == ("server-1/stage-artifacts",)
    assert needs["agent-1/apply-agent"] == ("agent-1/stage-artifacts", "server-1/apply-server")
    staged = plan.steps[0]
    assert isinstance(staged, StageArtifacts)
    assert [item.name for item in staged.artifacts] == ["k3s", "k3s-airgap-images-amd64.tar"]


def test_agents_do_not_wait_for_a_server_that_is_pushed_nothing() -> None:
    """Its K3s runs, or its files lie there since an earlier run."""
    before = situation(spec(1), pushed=True)
    server = executed(before, replace(plan_stages(before), steps=plan_stages(before).steps[:2]))
    plan = plan_stages(server)
    assert {step.id: step.needs for step in plan.steps} == {
        "agent-1/stage-artifacts": (),
        "agent-1/apply-agent": ("agent-1/stage-artifacts",),
    }
    staged = tuple(
        FileFact(paths.staged(item.sha256, item.name), item.sha256, 0o644, 0, 1.0) for item in (BINARY, IMAGES)
    )
    facts = {**before.facts, "server-1": on_k3s(before.facts["server-1"], staged=staged)}
    plan = plan_stages(replace(before, facts=facts))
    assert {step.id: step.needs for step in plan.steps} == {
        "server-1/apply-server": (),
        "agent-1/stage-artifacts": (),
        "agent-1/apply-agent": ("agent-1/stage-artifacts", "server-1/apply-server"),
    }


def test_agents_do_not_wait_for_a_push_to_a_server_that_was_refused() -> None:
    before = situation(spec(1), pushed=True)
    facts = {**before.facts, "server-1": fresh(hostname="server-1", init="openrc")}
    plan = plan_stages(replace(before, facts=facts))
    assert {refusal.host for refusal in plan.refusals} == {"server-1"}
    assert {step.id: step.needs for step in plan.steps}["agent-1/stage-artifacts"] == ()


def test_machines_that_are_made_and_pushed_to_keep_both_orders() -> None:
    plan = plan_stages(with_survey(situation(spec(1), pushed=True), server_1="missing", agent_1="missing"))
    needs = {step.id: step.needs for step in plan.steps}
    assert needs["agent-1/stage-artifacts"] == ("agent-1/create-machine", "server-1/stage-artifacts")


def test_the_second_plan_is_empty_and_says_why() -> None:
    plan = plan_stages(running())
    assert plan.is_empty
    assert [item.host for item in plan.unchanged] == ["server-1", "agent-1", "agent-2"]
    assert all("runs as requested" in item.reason for item in plan.unchanged)


@settings(max_examples=40, deadline=None)
@given(
    agents=st.integers(0, 4),
    disabled=st.lists(st.sampled_from(["traefik", "servicelb", "metrics-server"]), unique=True),
    pushed=st.booleans(),
)
def test_whatever_is_wished_executing_the_plan_leaves_nothing_to_do(
    agents: int, disabled: list[str], *, pushed: bool
) -> None:
    wish = spec(agents, server={"disable": disabled} if disabled else {})
    before = situation(wish, pushed=pushed)
    after = executed(before, plan_stages(before))
    assert ids(plan_stages(after)) == []


def test_a_changed_server_flag_restarts_the_server_once_and_nothing_else() -> None:
    changed = wish_again(running(), spec(server={"disable": ["traefik"]}))
    plan = plan_stages(changed)
    assert ids(plan) == ["server-1/apply-server"]
    assert [change.id for change in plan.steps[0].changes if change.impact == "disrupt"] == ["restart:k3s"]
    assert plan.steps[0].impact == "disrupt"
    written = next(change for change in plan.steps[0].changes if change.target == paths.CONFIG)
    assert "+- traefik" in written.diff


def test_an_agent_added_to_the_file_is_the_only_one_that_joins() -> None:
    plan = plan_stages(wish_again(running(1), spec(2)))
    assert ids(plan) == ["agent-2/apply-agent"]
    assert plan.steps[0].needs == ()
    (step,) = plan.steps
    assert isinstance(step, ApplyAgent)
    assert str(step.token) == "<agent token of server-1>"


def test_an_agent_whose_run_was_cut_off_gets_what_its_host_insists_on() -> None:
    """After any number of changes: what is sent then, with the token where the plan has it, is vetoed by nobody."""
    before = situation(spec(1))
    server = executed(before, replace(plan_stages(before), steps=plan_stages(before).steps[:1]))
    whole = plan_stages(server).steps[0]
    assert isinstance(whole, ApplyAgent)
    for done in range(len(whole.changes)):
        facts = executed(server, Plan("edge", (replace(whole, changes=whole.changes[:done]),))).facts
        (step,) = plan_stages(replace(server, facts=facts)).steps
        assert isinstance(step, ApplyAgent)
        assert step.request.join is not None
        token = Secret(TOKEN) if step.token else None
        sent = replace(step.request, join=replace(step.request.join, token=token))
        assert assess(sent, facts["agent-1"]).vetoes == ()


def test_a_label_of_a_member_goes_through_the_api_on_the_server() -> None:
    wish = spec(1)
    labelled = wish.model_copy(
        update={"nodes": (wish.nodes[0], wish.nodes[1].model_copy(update={"labels": {"disk": "ssd"}}))}
    )
    plan = plan_stages(wish_again(running(1), labelled))
    step, written = plan.steps
    assert isinstance(step, LabelNode)
    assert (step.id, step.host, step.node, step.labels) == (
        "agent-1/label-node",
        "server-1",
        "agent-1",
        {"disk": "ssd"},
    )
    # K3s sets the labels of its configuration at each start: it follows, and nothing restarts.
    assert (written.id, written.needs) == ("agent-1/apply-agent", (step.id,))
    assert [change.id for change in written.changes] == [f"write:{paths.CONFIG}"]


def test_what_interrupts_agents_reaches_one_first_and_then_batches() -> None:
    done = running(9)
    agent = {"kubelet-arg": ["max-pods=50"]}
    changed = done.spec.model_copy(update={"k3s": done.spec.k3s.model_copy(update={"agent": agent})})
    steps = {step.id: step for step in plan_stages(wish_again(done, changed)).steps}
    assert {step.impact for step in steps.values()} == {"disrupt"}
    turns = [[f"agent-{n}/apply-agent" for n in turn] for turn in ((1,), (2, 3), (4, 5), (6, 7), (8, 9))]
    assert list(steps) == [name for turn in turns for name in turn]
    for before, turn in pairwise([[], *turns]):
        assert {steps[name].needs for name in turn} == {tuple(before)}
    watches = [step.request.watch for step in steps.values() if isinstance(step, ApplyAgent)]
    assert watches == [Watch(30.0), *[Watch(0.0)] * 8]
    for step in steps.values():
        assert step.changes[-1].id == "watch:k3s-agent"
        assert isinstance(step, ApplyAgent)
        assert step.request.agreed == tuple(change.id for change in step.changes)
    at_once = changed.model_copy(update={"rollout": Rollout(batch=100)})
    needs = [step.needs for step in plan_stages(wish_again(done, at_once)).steps]
    assert needs == [(), *[("agent-1/apply-agent",)] * 8]


def test_an_agent_that_is_the_whole_change_is_not_watched() -> None:
    done = running(1)
    agent = {"kubelet-arg": ["max-pods=50"]}
    changed = done.spec.model_copy(update={"k3s": done.spec.k3s.model_copy(update={"agent": agent})})
    (step,) = plan_stages(wish_again(done, changed)).steps
    assert isinstance(step, ApplyAgent)
    assert (step.impact, step.request.watch, step.changes[-1].action) == ("disrupt", None, "wait-ready")


def test_new_agents_wait_for_no_batch() -> None:
    done = running(2)
    more = situation(spec(4)).spec
    changed = more.model_copy(update={"k3s": more.k3s.model_copy(update={"agent": {"kubelet-arg": ["max-pods=50"]}})})
    needs = {step.host: step.needs for step in plan_stages(wish_again(done, changed)).steps}
    assert needs == {"agent-1": (), "agent-2": ("agent-1/apply-agent",), "agent-3": (), "agent-4": ()}


def test_a_label_that_is_taken_out_of_the_file_goes_from_its_node() -> None:
    wish = spec(1)
    labelled = wish.model_copy(
        update={"nodes": (wish.nodes[0], wish.nodes[1].model_copy(update={"labels": {"disk": "ssd"}}))}
    )
    before = situation(labelled)
    step, written = plan_stages(wish_again(executed(before, plan_stages(before)), wish)).steps
    assert isinstance(step, LabelNode)
    assert (step.node, step.labels) == ("agent-1", {"disk": None})
    assert [change.id for change in written.changes] == [f"write:{paths.CONFIG}"]


def test_taints_of_a_member_follow_the_file_on_agents_too() -> None:
    done = running(1)
    tainted = done.spec.model_copy(
        update={"nodes": (done.spec.nodes[0], done.spec.nodes[1].model_copy(update={"taints": ("a=b:NoSchedule",)}))}
    )
    step, written = plan_stages(wish_again(done, tainted)).steps
    assert isinstance(step, LabelNode)
    assert (step.id, step.host, step.taints) == ("agent-1/label-node", "server-1", ("a=b:NoSchedule",))
    assert step.reason == "its taints differ: a=b:NoSchedule"
    assert [change.id for change in written.changes] == [f"write:{paths.CONFIG}"]


def test_a_plan_holds_no_token_even_where_one_was_given() -> None:
    before = situation(spec(1))
    text = json.dumps(encode(plan_stages(before))) + "\n".join(plan_lines(plan_stages(before), full=True))
    assert TOKEN not in text
    assert "K10" not in text


def wiped(facts: K3sFacts) -> dict[str, object]:
    names = ("role", "units", "binary", "binary_version", "config_files", "config", "config_sources", "tokens")
    empty = situation(spec(0)).facts["server-1"].k3s
    return {
        name: getattr(empty, name) for name in (*names, "datastore", "ca_hash", "running", "node_name", "written_by")
    }


def test_a_wiped_server_with_living_agents_never_founds_a_second_cluster() -> None:
    before = running()
    server = before.facts["server-1"]
    facts = {**before.facts, "server-1": replace(on_k3s(server, **wiped(server.k3s)), cluster=None)}
    assert is_member(facts["agent-1"])
    plan = plan_stages(replace(before, facts=facts))
    assert {refusal.failure.code for refusal in plan.refusals if refusal.host == "server-1"} == {"cluster.second"}
    recorded = replace(before, facts={"server-1": facts["server-1"]}, record=ClusterRecord(CA, "v1.34.4+k3s1"))
    assert {refusal.failure.code for refusal in plan_stages(recorded).refusals} == {"cluster.second"}
    assert ids(plan_stages(replace(recorded, new_cluster=True))) == ["server-1/apply-server"]


def test_a_host_of_another_cluster_is_refused() -> None:
    before = replace(running(1), record=ClusterRecord(OTHER_CA, "v1.34.4+k3s1"))
    assert {refusal.failure.code for refusal in plan_stages(before).refusals} == {"k3s.ca-mismatch"}


def test_nodes_that_the_file_does_not_name_are_named_and_left_alone() -> None:
    there = wish_again(running(2), spec(1))
    server = there.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, labels={}) if node.name == "agent-2" else node for node in server.cluster.nodes)
    unmarked = replace(server, cluster=replace(server.cluster, nodes=nodes))
    plan = plan_stages(replace(there, facts={**there.facts, "server-1": unmarked}))
    assert plan.is_empty
    assert [note for note in plan.notes if "agent-2" in note] == [
        "in the cluster, but not in the file: agent-2; they are not changed"
    ]


def test_machines_to_come_are_planned_on_assumed_facts_and_marked() -> None:
    wish = spec(1).model_copy(
        update={"nodes": tuple(node.model_copy(update={"address": None}) for node in spec(1).nodes)}
    )
    inventory = build_inventory(wish, {})
    before = Situation(wish, inventory, {}, situation(spec(1)).files)
    plan = plan_stages(with_survey(before, server_1="missing", agent_1="missing"))
    assert ids(plan)[:2] == ["server-1/create-machine", "agent-1/create-machine"]
    later = plan.of_stage("cluster")
    assert len(later) == 2
    assert all(step.assumed for step in later if isinstance(step, ApplyServer | ApplyAgent))
    needs = {step.id: step.needs for step in plan.steps}
    assert needs["agent-1/apply-agent"] == ("agent-1/create-machine", "server-1/apply-server")
    text = "\n".join(plan_lines(plan, full=True))
    assert "<address of server-1>" in text
    assert "192.0.2." not in text


@pytest.mark.parametrize(
    ("address", "flags", "url"),
    [
        ("10.0.0.11", {}, "https://10.0.0.11:6443"),
        ("fd00::11", {}, "https://[fd00::11]:6443"),
        ("server.example", {"https-listen-port": 7443}, "https://server.example:7443"),
    ],
)
def test_where_nodes_join(address: str, flags: dict[str, object], url: str) -> None:
    wish = spec(0, server=flags)
    wish = wish.model_copy(update={"nodes": (wish.nodes[0].model_copy(update={"address": address}),)})
    assert registration_url(situation(wish)) == url


def test_a_name_by_which_nodes_join_is_in_the_certificate() -> None:
    wish = spec(0, tls_san=("k3s.example",))
    wish = wish.model_copy(update={"nodes": (wish.nodes[0].model_copy(update={"address": "server.example"}),)})
    before = situation(wish)
    request = request_for(before, before.inventory.founder)
    assert request.tls_san == ("k3s.example", "server.example")
    assert request.node_ip is None
