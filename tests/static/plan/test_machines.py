"""Machines come before everything, and go after everything: the plan's part, as values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productive_k3s.contract.facts import ClusterFacts
from productive_k3s_infra.inventory.survey import MachineState, Resource, Survey, SurveyedMachine
from productive_k3s_infra.plan.model import ClusterRecord, Plan
from productive_k3s_infra.plan.removal import leaving_machines
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Stage, plan_by
from productive_k3s_infra.plan.stages import MACHINES, plan_stages
from productive_k3s_infra.plan.step import ChangeShared, CreateMachine, DestroyMachine, ForgetNode, StartMachine
from productive_k3s_infra.plan.text import plan_lines
from static.contract_program.hosts import CA
from static.plan.clusters import executed, situation, spec, wish_again


def survey(**states: MachineState) -> Survey:
    return Survey(True, tuple(SurveyedMachine(name.replace("_", "-"), state) for name, state in states.items()))


def machines_of(seen: Survey, *replacing: str) -> Plan:
    """The plan's first stage alone, over a cluster that runs."""
    return plan_by([MACHINES], replace(running(1), survey=seen, replacing=replacing))


def codes(plan: Plan) -> list[tuple[str, str]]:
    return [(refusal.host, refusal.failure.code) for refusal in plan.refusals]


def running(agents: int = 2) -> Situation:
    before = situation(spec(agents))
    return executed(before, plan_stages(before))


def test_what_machines_share_is_made_first_and_their_own_parts_stand_with_them() -> None:
    seen = replace(
        survey(server_1="running", agent_1="missing", agent_2="stopped"),
        resources=(
            Resource("group", "update", what="allowed networks"),
            Resource("volume-1", "create", "agent-1"),
            Resource("tags-1", "update", "server-1"),
        ),
        notes=("a note",),
    )
    plan = machines_of(seen)
    assert [step.id for step in plan.steps] == [
        "edge/shared-resources",
        "agent-1/create-machine",
        "agent-2/start-machine",
    ]
    assert isinstance(plan.steps[2], StartMachine)
    resources = [step.resources for step in plan.steps if isinstance(step, ChangeShared | CreateMachine | StartMachine)]
    assert resources == [("update group (allowed networks)", "update tags-1"), ("create volume-1",), ()]
    assert all(step.needs == () for step in plan.steps), "the provider knows the order, and gets them in one call"
    assert plan.notes == ("a note",)
    assert "    + create volume-1" in plan_lines(plan)


def test_nothing_is_ever_destroyed_in_the_first_stage() -> None:
    seen = replace(
        survey(server_1="running"),
        resources=(Resource("node[server-1]", "replace", "server-1", "image"), Resource("group", "delete")),
    )
    plan = machines_of(seen)
    assert codes(plan) == [("server-1", "machine.plan-destroys"), ("edge", "machine.plan-destroys")]
    assert "image" in plan.refusals[0].failure.evidence


def test_a_machine_that_differs_is_refused_unless_it_is_replaced() -> None:
    differing = SurveyedMachine("agent-1", "running", differences=("memory is 4G, the file says 8G",))
    seen = Survey(True, (SurveyedMachine("server-1", "running"), differing))
    plan = machines_of(seen)
    assert codes(plan) == [("agent-1", "machine.differs")]
    assert plan.refusals[0].failure.evidence == "memory is 4G, the file says 8G"
    assert "--replace agent-1" in plan.refusals[0].failure.remedy
    anew = machines_of(seen, "agent-1")
    assert [step.id for step in anew.steps] == [
        "agent-1/remove-node",
        "agent-1/destroy-machine",
        "agent-1/create-machine",
    ]
    assert not anew.refusals


def test_an_extra_machine_does_not_have_to_be_as_the_file_says() -> None:
    gone = SurveyedMachine("agent-1", "extra", differences=("memory is 4G",))
    plan = machines_of(Survey(True, (SurveyedMachine("server-1", "running"), gone)))
    assert not plan.steps
    assert not plan.refusals


def test_hosts_that_are_not_ours_have_no_work() -> None:
    plan = machines_of(Survey(False, (SurveyedMachine("server-1", "missing"),)))
    assert not plan.steps
    assert not plan.refusals


@pytest.mark.parametrize(
    ("name", "owns", "code"),
    [
        ("server-1", True, "machine.only-server"),
        ("agent-9", True, "machine.no-replace"),
        ("agent-1", False, "machine.no-replace"),
    ],
)
def test_who_cannot_be_replaced(name: str, owns: bool, code: str) -> None:
    assert codes(machines_of(Survey(owns, ()), name)) == [(name, code)]
    assert not machines_of(Survey(True, ()), "agent-1").refusals


def leaving(before: Situation, *names: str) -> Situation:
    """Machines of a provider that exist, and that the file does not name."""
    declared = tuple(SurveyedMachine(host.name, "running") for host in before.inventory.hosts)
    return replace(before, survey=Survey(True, (*declared, *(SurveyedMachine(name, "extra") for name in names))))


def removal(before: Situation) -> Plan:
    return plan_by([Stage("cluster", (leaving_machines,))], before)


def shrunk(*names: str, agents: int = 1) -> Situation:
    return leaving(wish_again(running(2), spec(agents)), *(names or ("agent-2",)))


def test_a_node_leaves_before_its_machine_goes_and_nothing_else_happens() -> None:
    plan = plan_stages(shrunk())
    assert [step.id for step in plan.steps] == ["agent-2/remove-node", "agent-2/destroy-machine"]
    leave, destroy = plan.steps
    assert (leave.host, leave.node, destroy.needs) == ("server-1", "agent-2", (leave.id,))
    assert plan.disruptive == plan.steps
    assert not [note for note in plan.notes if "left alone" in note]


def test_new_nodes_join_before_old_ones_are_drained() -> None:
    cluster = next(facts.cluster for facts in shrunk().facts.values() if facts.cluster is not None)
    old = shrunk("agent-9", agents=3)
    server = old.facts["server-1"]
    nodes = (*cluster.nodes, replace(cluster.nodes[-1], name="agent-9", roles=()))
    old = replace(old, facts={**old.facts, "server-1": replace(server, cluster=replace(cluster, nodes=nodes))})
    plan = plan_stages(old)
    needs = {step.id: step.needs for step in plan.steps}
    assert needs["agent-9/remove-node"] == ("agent-3/apply-agent",)
    assert needs["agent-9/destroy-machine"] == ("agent-9/remove-node",)


def test_a_machine_whose_node_has_left_already_goes_at_once() -> None:
    left = executed(shrunk(), replace(plan_stages(shrunk()), steps=plan_stages(shrunk()).steps[:1]))
    assert [step.id for step in plan_stages(left).steps] == ["agent-2/destroy-machine"]


def test_a_machine_stays_when_the_cluster_does_not_say_that_its_node_has_left() -> None:
    silent = shrunk()
    server = replace(silent.facts["server-1"], cluster=ClusterFacts(False, "connection refused"))
    for facts in ({**silent.facts, "server-1": server}, {"agent-1": silent.facts["agent-1"]}):
        plan = removal(replace(silent, facts=facts))
        assert not plan.steps
        assert [note for note in plan.notes if "agent-2" in note and "is not changed" in note]


def test_a_recorded_cluster_that_is_nowhere_keeps_its_machines() -> None:
    """The server's own machine may be the one that the file does not name any more."""
    fresh = leaving(situation(spec(1)), "server-0")
    assert [step.id for step in removal(fresh).steps] == ["server-0/destroy-machine"]
    assert not removal(replace(fresh, record=ClusterRecord(CA, "v1.34.4+k3s1"))).steps
    assert not removal(replace(fresh, facts={})).steps, "a server that was not reached may have the cluster"


def test_a_server_s_machine_never_goes_by_being_left_out_of_the_file() -> None:
    there = shrunk()
    cluster = there.facts["server-1"].cluster
    assert cluster is not None
    nodes = (*cluster.nodes, replace(cluster.nodes[0], name="server-0", roles=("control-plane", "etcd", "master")))
    server = replace(there.facts["server-1"], cluster=replace(cluster, nodes=nodes))
    plan = removal(leaving(replace(there, facts={**there.facts, "server-1": server}), "server-0"))
    assert codes(plan) == [("server-0", "machine.only-server")]
    assert not plan.steps


@settings(max_examples=60, deadline=None)
@given(
    there=st.integers(0, 4),
    wanted=st.integers(0, 4),
)
def test_any_change_of_the_number_of_agents_ends_where_the_file_says(there: int, wanted: int) -> None:
    before = running(there)
    names = (f"agent-{n}" for n in range(wanted + 1, there + 1))
    wish = leaving(wish_again(before, spec(wanted)), *names)
    plan = plan_stages(wish)
    order = [step.id for step in plan.steps]
    for step in plan.steps:
        assert all(order.index(need) < order.index(step.id) for need in step.needs)
        if isinstance(step, DestroyMachine):
            assert f"{step.host}/remove-node" in step.needs
    after = executed(wish, plan)
    cluster = after.facts["server-1"].cluster
    assert cluster is not None
    assert {node.name for node in cluster.nodes} == {"server-1", *(f"agent-{n}" for n in range(1, wanted + 1))}
    assert plan_stages(leaving(after)).is_empty


def without_its_host(name: str, *, ready: bool = False) -> Situation:
    """The agent's host is empty again; its Node is still in the cluster."""
    there = running(2)
    server = there.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, ready=ready) if node.name == name else node for node in server.cluster.nodes)
    fresh = situation(spec(2)).facts[name]
    return replace(
        there,
        facts={**there.facts, "server-1": replace(server, cluster=replace(server.cluster, nodes=nodes)), name: fresh},
    )


def test_a_node_whose_host_is_gone_is_forgotten_before_the_new_one_joins() -> None:
    """K3s would refuse it: the password of the Node was on the lost disk."""
    before = without_its_host("agent-1")
    plan = plan_stages(before)
    assert [step.id for step in plan.steps] == ["agent-1/forget-node", "agent-1/apply-agent"]
    assert plan.steps[0].host == "server-1"
    assert plan.steps[1].needs == ("agent-1/forget-node",)
    assert plan_stages(executed(before, plan)).is_empty


def test_a_living_node_is_never_forgotten_for_another_host_of_its_name() -> None:
    plan = plan_stages(without_its_host("agent-1", ready=True))
    assert codes(plan) == [("agent-1", "machine.name-in-use")]


def test_a_machine_that_its_provider_made_anew_is_nobody_else() -> None:
    """Its Node may still be called Ready: the cluster notices after some 40 seconds."""
    plan = plan_stages(leaving(without_its_host("agent-1", ready=True)))
    assert [step.id for step in plan.steps] == ["agent-1/forget-node", "agent-1/apply-agent"]


def test_a_member_that_only_does_not_run_keeps_its_node() -> None:
    there = running(1)
    server = there.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, ready=node.name == "server-1") for node in server.cluster.nodes)
    facts = {**there.facts, "server-1": replace(server, cluster=replace(server.cluster, nodes=nodes))}
    assert not [step for step in plan_stages(replace(there, facts=facts)).steps if "node" in step.id]


@pytest.mark.parametrize("owned", [True, False])
def test_a_host_that_runs_is_its_node_also_without_its_password(owned: bool) -> None:
    there = running(1)
    agent = there.facts["agent-1"]
    facts = {**there.facts, "agent-1": replace(agent, k3s=replace(agent.k3s, has_node_password=False))}
    changed = replace(there, facts=facts)
    plan = plan_stages(leaving(changed) if owned else changed)
    assert not [step for step in plan.steps if isinstance(step, ForgetNode)]
    assert ("agent-1", "machine.name-in-use") not in codes(plan)


def test_a_machine_that_is_down_is_not_drained() -> None:
    there = shrunk()
    server = there.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, ready=node.name != "agent-2") for node in server.cluster.nodes)
    facts = {**there.facts, "server-1": replace(server, cluster=replace(server.cluster, nodes=nodes))}
    plan = plan_stages(replace(there, facts=facts))
    assert [step.id for step in plan.steps] == ["agent-2/forget-node", "agent-2/destroy-machine"]
