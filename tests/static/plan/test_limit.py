"""`--limit`: a plan of the named nodes is what the whole plan says of them, and nothing that they cannot do alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.cluster_file.model import ClusterSpec, Proxy, Rollout
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.survey import MachineState, Survey, SurveyedMachine
from productive_k3s_infra.plan.limit import judged, looked_at, named, require_alone, require_known
from productive_k3s_infra.plan.mark import MARK
from productive_k3s_infra.plan.model import ClusterRecord, Plan, Reach
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.plan.step import ApplyAgent
from productive_k3s_infra.plan.text import plan_lines
from static.contract_program.hosts import CA
from static.plan.clusters import executed, situation, spec, wish_again, with_survey

FLAG = {"kubelet-arg": ["max-pods=200"]}


def running(agents: int = 2) -> Situation:
    before = situation(spec(agents))
    return executed(before, plan_stages(before))


def wishing(agents: int, *limit: str, there: int | None = None, rollout: Rollout | None = None) -> Situation:
    """A running cluster, of whose agents the file wants another flag."""
    wish = spec(agents, agent=FLAG).model_copy(update={"rollout": rollout} if rollout else {})
    return replace(wish_again(running(agents if there is None else there), wish), limit=frozenset(limit))


def limited(before: Situation, *limit: str) -> Plan:
    return plan_stages(replace(before, limit=frozenset(limit)))


def ids(plan: Plan) -> list[str]:
    return [step.id for step in plan.steps]


def codes(plan: Plan) -> list[tuple[str, str]]:
    return [(item.host, item.failure.code) for item in plan.refusals]


def without(before: Situation, *names: str) -> Situation:
    """The same, where these hosts do not answer."""
    facts = {name: found for name, found in before.facts.items() if name not in names}
    unreached = dict.fromkeys(names, Failure("ssh.unreachable", "no connection"))
    return replace(before, facts=facts, unreached=unreached)


def on_machines(before: Situation, **states: MachineState) -> Situation:
    """The same on machines of a provider; hosts whose machine does not run have a placeholder for an address."""
    seen = with_survey(before, **states)
    runs = {machine.name for machine in seen.survey.machines if machine.state == "running"}
    hosts = tuple(
        host if host.name in runs else replace(host, address=f"192.0.2.{row}", assumed=True)
        for row, host in enumerate(seen.inventory.hosts, 1)
    )
    facts = {name: found for name, found in seen.facts.items() if name in runs}
    return replace(seen, inventory=replace(seen.inventory, hosts=hosts), facts=facts)


def with_nodes(before: Situation, *names: str) -> Situation:
    """The same, where the cluster has these Nodes of ours too."""
    server = before.facts["server-1"]
    assert server.cluster is not None
    node = server.cluster.nodes[0]
    more = tuple(replace(node, name=name, roles=(), labels={MARK: "edge"}) for name in names)
    changed: Facts = replace(server, cluster=replace(server.cluster, nodes=(*server.cluster.nodes, *more)))
    return replace(before, facts={**before.facts, "server-1": changed})


def test_only_the_named_nodes_are_changed() -> None:
    assert ids(plan_stages(wishing(3))) == ["agent-1/apply-agent", "agent-2/apply-agent", "agent-3/apply-agent"]
    plan = plan_stages(wishing(3, "agent-2"))
    assert ids(plan) == ["agent-2/apply-agent"]
    assert plan.limit == ("agent-2",)
    assert not plan.unchanged
    assert [item.host for item in limited(running(), "agent-2").unchanged] == ["agent-2"]


def test_the_canary_and_the_batches_are_of_the_named_agents() -> None:
    plan = plan_stages(wishing(4, "agent-3", "agent-4", "agent-2", rollout=Rollout(batch="50%")))
    needs = {step.id: step.needs for step in plan.steps}
    assert needs == {
        "agent-2/apply-agent": (),
        "agent-3/apply-agent": ("agent-2/apply-agent",),
        "agent-4/apply-agent": ("agent-3/apply-agent",),
    }


def test_a_step_needs_no_other_that_is_left_out() -> None:
    wish = spec(1, agent=FLAG, server={"write-kubeconfig-mode": "0600"})
    both = wish_again(running(1), wish)
    whole = {step.id: step.needs for step in plan_stages(both).steps}
    assert whole["agent-1/apply-agent"] == ("server-1/apply-server",)
    assert [(step.id, step.needs) for step in limited(both, "agent-1").steps] == [("agent-1/apply-agent", ())]
    kept = {step.id: step.needs for step in limited(both, "agent-1", "server-1").steps}
    assert kept == whole


def test_a_new_agent_joins_a_cluster_that_lives() -> None:
    plan = plan_stages(wishing(4, "agent-4", there=2))
    assert ids(plan) == ["agent-4/apply-agent"]
    (step,) = plan.steps
    assert isinstance(step, ApplyAgent)
    assert step.token is not None


def test_a_new_agent_without_a_server_is_refused_and_not_begun() -> None:
    plan = limited(situation(spec(2)), "agent-1")
    assert (ids(plan), codes(plan)) == ([], [("agent-1", "limit.no-server")])
    assert plan.refusals[0].failure.evidence == "server-1: its API does not answer"


def test_an_agent_that_would_start_again_while_no_server_answers_is_refused() -> None:
    plan = plan_stages(without(wishing(2, "agent-1"), "server-1"))
    assert (ids(plan), codes(plan)) == ([], [("agent-1", "limit.no-server")])
    assert plan.refusals[0].failure.evidence == "server-1: no connection"
    assert not plan.unreached, "the server is not named"


def test_what_no_server_could_be_asked_for_is_not_said_to_be_right() -> None:
    plan = limited(without(running(), "server-1"), "agent-1")
    assert plan.is_empty
    assert plan.notes == (
        "agent-1: labels and taints were not compared, because no server answers (server-1: no connection)",
    )
    assert not limited(running(), "agent-1").notes


def test_a_cluster_is_founded_only_after_a_look_at_all_hosts() -> None:
    """One of them may belong to a cluster already, and then this would be the second one."""
    fresh = situation(spec(2))
    plan = limited(fresh, "server-1", "agent-1")
    assert codes(plan) == [("server-1", "limit.founds")]
    assert plan.refusals[0].failure.evidence == "not checked: agent-2"
    whole = limited(fresh, "server-1", "agent-1", "agent-2")
    assert ids(whole) == ids(plan_stages(fresh))


def test_machines_that_are_missing_hinder_no_founding_and_are_not_made() -> None:
    seen = on_machines(situation(spec(2)), server_1="running", agent_1="running", agent_2="missing")
    plan = limited(seen, "server-1", "agent-1")
    assert ids(plan) == ["server-1/apply-server", "agent-1/apply-agent"]
    stopped = on_machines(situation(spec(2)), server_1="running", agent_1="running", agent_2="stopped")
    assert codes(limited(stopped, "server-1", "agent-1")) == [("server-1", "limit.founds")], "it may be a member"


def test_what_a_provider_says_of_machines_is_left_out() -> None:
    before = wishing(2)
    machines = (SurveyedMachine("server-1", "running"), SurveyedMachine("agent-1", "running", differences=("memory",)))
    seen = replace(before, survey=Survey(True, machines, notes=("a note of the provider",)))
    assert codes(plan_stages(seen)) == [("agent-1", "machine.differs")]
    plan = limited(seen, "agent-1")
    assert (ids(plan), codes(plan), plan.notes) == (["agent-1/apply-agent"], [], ())


@pytest.mark.parametrize(
    ("state", "what"), [("missing", "has no machine yet"), ("stopped", "its machine is not running")]
)
def test_a_named_machine_that_is_not_there_is_refused(state: MachineState, what: str) -> None:
    seen = on_machines(running(), server_1="running", agent_1="running", agent_2=state)
    plan = limited(seen, "agent-2")
    assert (ids(plan), codes(plan)) == ([], [("agent-2", "limit.no-machine")])
    assert plan.refusals[0].failure.what == what
    other = limited(seen, "agent-1")
    assert (ids(other), codes(other)) == ([], [])


@pytest.mark.parametrize(
    "wish",
    [spec(proxy=Proxy(http=SecretStr("http://proxy:3128"))), spec().model_copy(update={"hosts_file": True})],
    ids=["proxy", "names"],
)
def test_a_host_is_not_told_an_address_that_nobody_knows(wish: ClusterSpec) -> None:
    before = on_machines(running(), server_1="running", agent_1="running", agent_2="stopped")
    plan = limited(replace(before, spec=wish), "agent-1")
    assert (ids(plan), codes(plan)) == ([], [("agent-1", "limit.no-address")])
    assert "agent-2" in plan.refusals[0].failure.what


def test_nothing_is_said_of_hosts_that_are_not_named() -> None:
    silent = without(wishing(3, "agent-2"), "agent-1", "agent-3")
    plan = plan_stages(silent)
    assert ids(plan) == ["agent-2/apply-agent"]
    assert (plan.unreached, plan.notes, plan.refusals) == ((), (), ())
    said = plan_stages(replace(silent, limit=frozenset({"agent-1"})))
    assert [item.host for item in said.unreached] == ["agent-1"]
    foreign = with_nodes(silent, "stranger")
    assert not plan_stages(foreign).notes


def test_what_is_said_of_all_is_said() -> None:
    noted = replace(wishing(2, "agent-2"), notes=("the release's checksums were not compared",))
    assert plan_stages(noted).notes == ("the release's checksums were not compared",)


def test_a_node_that_leaves_is_removed_only_if_it_is_named() -> None:
    before = with_nodes(wishing(2), "agent-8", "agent-9")
    assert ids(limited(before, "agent-9")) == ["agent-9/remove-node"]
    assert limited(before, "agent-9").limit == ("agent-9",)
    assert ids(limited(before, "agent-1")) == ["agent-1/apply-agent"]
    both = {step.id: step.needs for step in limited(before, "agent-1", "agent-9").steps}
    assert both == {"agent-1/apply-agent": (), "agent-9/remove-node": ("agent-1/apply-agent",)}


def test_a_machine_that_leaves_goes_after_its_node() -> None:
    there = with_nodes(running(), "agent-8", "agent-9")
    before = with_survey(there, server_1="running", agent_1="running", agent_8="extra", agent_9="extra")
    assert ids(limited(before, "agent-9")) == ["agent-9/remove-node", "agent-9/destroy-machine"]


def test_the_last_line_says_what_was_left_out() -> None:
    last = "Only agent-1, agent-2 (--limit): other nodes, machines and the full validation were left out."
    lines = list(plan_lines(plan_stages(wishing(3, "agent-2", "agent-1"))))
    assert lines[-2:] == ["2 steps for edge: ! 2 restart.", last]
    assert list(plan_lines(limited(running(), "agent-2", "agent-1")))[-2:] == [
        "Nothing to change on agent-1, agent-2.",
        last,
    ]
    assert not [line for line in plan_lines(plan_stages(running())) if "--limit" in line]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(["server-1", "agent-1", "agent-2", "agent-3", "agent-4"]), min_size=1), st.booleans())
def test_a_limited_plan_is_a_part_of_the_whole_one(limit: set[str], serving: bool) -> None:
    server = {"server": {"write-kubeconfig-mode": "0600"}} if serving else {}
    before = wish_again(running(2), spec(4, agent=FLAG, **server))
    whole, part = plan_stages(before), limited(before, *limit)
    assert {step.subject for step in part.steps} == {step.subject for step in whole.steps} & limit
    assert {step.id for step in part.steps} == {step.id for step in whole.steps if step.subject in limit}
    known = {step.id for step in part.steps}
    assert all(need in known for step in part.steps for need in step.needs)
    assert not part.refusals


@pytest.mark.parametrize(
    ("words", "names"),
    [((), set()), (("a,b",), {"a", "b"}), (("a", "b, c"), {"a", "b", "c"}), (("a", "a"), {"a"})],
)
def test_names_are_given_with_commas_or_again(words: tuple[str, ...], names: set[str]) -> None:
    assert named(words) == names


@pytest.mark.parametrize("words", [("",), ("a,",), (" , a",), ("a", "")])
def test_an_empty_name_does_not_stand_for_all(words: tuple[str, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        named(words)
    assert caught.value.code == "limit.empty"


@pytest.mark.parametrize(
    ("new_cluster", "replacing", "option"), [(True, (), "--new-cluster"), (False, ("agent-1",), "--replace")]
)
def test_it_stands_beside_nothing_that_concerns_all(new_cluster: bool, replacing: tuple[str, ...], option: str) -> None:
    with pytest.raises(BadInput) as caught:
        require_alone({"agent-1"}, new_cluster=new_cluster, replacing=replacing)
    assert (caught.value.code, caught.value.exit_code) == ("limit.beside", 2)
    assert option in caught.value.what
    require_alone((), new_cluster=new_cluster, replacing=replacing)


def test_an_unknown_name_is_answered_with_those_that_may_be_named() -> None:
    record = ClusterRecord(CA, "v1.36.4+k3s1", {"agent-7": Reach("10.0.0.27", "root")})
    before = with_nodes(replace(running(1), record=record), "agent-9")
    for name in ("server-1", "agent-1", "agent-7", "agent-9"):
        require_known(replace(before, limit=frozenset({name})))
    with pytest.raises(BadInput) as caught:
        require_known(replace(before, limit=frozenset({"agent-1", "agnet-1", "nobody"})))
    error = caught.value
    assert (error.code, error.exit_code) == ("limit.unknown", 2)
    assert error.what == "there is no such node: agnet-1, nobody"
    assert error.remedy == "these may be named: server-1, agent-1, agent-7, agent-9"
    assert not error.evidence
    with pytest.raises(BadInput) as caught:
        require_known(replace(without(before, "server-1"), limit=frozenset({"agent-9"})))
    assert "no server answered" in caught.value.evidence


def test_machines_that_the_file_does_not_name_may_be_named() -> None:
    before = with_survey(with_nodes(running(1), "agent-8"), server_1="running", agent_1="running", agent_9="extra")
    require_known(replace(before, limit=frozenset({"agent-9"})))
    with pytest.raises(BadInput):
        require_known(replace(before, limit=frozenset({"agent-8"})))


def test_only_named_hosts_and_servers_are_asked_and_judged() -> None:
    before = wishing(3, "agent-2")
    assert [host.name for host in looked_at(before.inventory, before.limit).hosts] == ["server-1", "agent-2"]
    assert [host.name for host in judged(before).hosts] == ["server-1", "agent-2"]
    assert [host.name for host in judged(without(before, "server-1")).hosts] == ["agent-2"], "it stops nobody"
    assert [host.name for host in judged(without(before, "agent-2")).hosts] == ["server-1", "agent-2"]
    assert judged(replace(before, limit=frozenset())) == before.inventory
