"""A rollout with `drain: true`: each restart stands between a drain and the end of the cordon, a batch at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.cluster_file.model import ClusterSpec, Rollout
from productive_k3s_infra.inventory.survey import Survey, SurveyedMachine
from productive_k3s_infra.plan.joining import only_new_agents_join
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.plan.step import ApplyAgent, DrainNode, UncordonNode
from static.plan.clusters import executed, situation, spec, wish_again

AGENT: dict[str, Any] = {"kubelet-arg": ["max-pods=50"]}


def running(agents: int) -> Situation:
    before = situation(spec(agents))
    return executed(before, plan_stages(before))


def wishing(wish: ClusterSpec, *, drain: bool = True, batch: int | str = "25%", **k3s: Any) -> ClusterSpec:
    changed = {"k3s": wish.k3s.model_copy(update=k3s or {"agent": AGENT})}
    return wish.model_copy(update={**changed, "rollout": Rollout(batch=batch, drain=drain)})


def rolled_out(before: Situation, **wishes: Any) -> Situation:
    """The file wants another flag of the agents, drained before they get it."""
    return wish_again(before, wishing(before.spec, **wishes))


def with_node(before: Situation, name: str, /, **fields: Any) -> Situation:
    """The cluster shows a node otherwise."""
    server = before.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(replace(node, **fields) if node.name == name else node for node in server.cluster.nodes)
    return with_server(before, replace(server, cluster=replace(server.cluster, nodes=nodes)))


def with_server(before: Situation, server: Facts) -> Situation:
    return replace(before, facts={**before.facts, "server-1": server})


def needs(plan: Plan) -> dict[str, tuple[str, ...]]:
    assert not plan.refusals, plan.refusals
    return {step.id: step.needs for step in plan.steps}


def test_a_restart_stands_between_the_drain_and_the_end_of_the_cordon() -> None:
    plan = plan_stages(rolled_out(running(2)))
    assert needs(plan) == {
        "agent-1/drain-node": (),
        "agent-1/apply-agent": ("agent-1/drain-node",),
        "agent-1/uncordon-node": ("agent-1/apply-agent",),
        "agent-2/drain-node": ("agent-1/uncordon-node",),
        "agent-2/apply-agent": ("agent-1/uncordon-node", "agent-2/drain-node"),
        "agent-2/uncordon-node": ("agent-2/apply-agent",),
    }
    drain, _, uncordon = plan.steps[:3]
    assert isinstance(drain, DrainNode)
    assert isinstance(uncordon, UncordonNode)
    assert (drain.host, drain.subject, drain.impact, drain.by_apply) == ("server-1", "agent-1", "disrupt", True)
    assert (uncordon.host, uncordon.subject, uncordon.impact, uncordon.by_apply) == (
        "server-1",
        "agent-1",
        "change",
        True,
    )


def test_no_more_nodes_than_a_batch_are_cordoned_at_once() -> None:
    plan = plan_stages(rolled_out(running(7), batch=2))
    batches = ((1,), (2, 3), (4, 5), (6, 7))
    found = needs(plan)
    for before, batch in pairwise(((), *batches)):
        ended = tuple(f"agent-{n}/uncordon-node" for n in before)
        assert {found[f"agent-{n}/drain-node"] for n in batch} == {ended}


def test_without_drain_nothing_is_drained() -> None:
    plan = plan_stages(rolled_out(running(2), drain=False))
    assert list(needs(plan)) == ["agent-1/apply-agent", "agent-2/apply-agent"]


def test_what_restarts_nothing_and_what_joins_is_not_drained() -> None:
    done = running(1)
    labelled = done.spec.nodes[1].model_copy(update={"labels": {"disk": "ssd"}})
    wish = spec(2).model_copy(update={"nodes": (done.spec.nodes[0], labelled, spec(2).nodes[2])})
    plan = plan_stages(wish_again(done, wishing(wish, version=wish.k3s.version)))
    assert list(needs(plan)) == ["agent-1/label-node", "agent-1/apply-agent", "agent-2/apply-agent"]


def test_a_drain_comes_after_all_that_its_restart_waits_for() -> None:
    """The server first: who is drained before a server fails is cordoned for nothing."""
    done = running(1)
    plan = plan_stages(rolled_out(done, agent=AGENT, server={"disable": ["traefik"]}))
    assert needs(plan) == {
        "server-1/apply-server": (),
        "agent-1/drain-node": ("server-1/apply-server",),
        "agent-1/apply-agent": ("server-1/apply-server", "agent-1/drain-node"),
        "agent-1/uncordon-node": ("agent-1/apply-agent", "server-1/apply-server"),
    }


def test_what_a_person_cordoned_is_drained_stays_cordoned_and_is_said() -> None:
    plan = plan_stages(rolled_out(with_node(running(2), "agent-1", schedulable=False)))
    found = needs(plan)
    assert "agent-1/uncordon-node" not in found
    assert found["agent-1/apply-agent"] == ("agent-1/drain-node",)
    assert found["agent-2/drain-node"] == ("agent-1/apply-agent",)
    assert [note for note in plan.notes if note.startswith("agent-1")] == [
        "agent-1: it was cordoned manually; it is drained and stays cordoned: pk3s uncordon agent-1"
    ]


def test_a_node_that_is_not_ready_is_mended_without_a_drain_and_it_is_said() -> None:
    there = with_node(running(1), "agent-1", ready=False, schedulable=False, own_cordon=True)
    plan = plan_stages(rolled_out(there))
    assert needs(plan) == {
        "agent-1/apply-agent": (),
        "agent-1/uncordon-node": ("agent-1/apply-agent",),
    }
    assert any("restarted without a drain: its node is not Ready" in note for note in plan.notes)


def test_the_next_batch_waits_for_a_cordon_that_was_left_too() -> None:
    there = with_node(running(2), "agent-1", ready=False, schedulable=False, own_cordon=True)
    assert needs(plan_stages(rolled_out(there)))["agent-2/drain-node"] == ("agent-1/uncordon-node",)


def test_the_cordon_of_a_node_that_leaves_is_not_lifted() -> None:
    there = with_node(running(1), "agent-1", schedulable=False, own_cordon=True)
    seen = tuple(SurveyedMachine(name, "running") for name in ("server-1", "agent-1"))
    plan = plan_stages(replace(there, survey=Survey(True, seen), replacing=("agent-1",)))
    assert [step.action for step in plan.steps] == ["remove-node", "destroy-machine", "create-machine", "apply-agent"]
    # Its host was made anew by somebody: another Node will join, which nobody has cordoned.
    empty = with_node(there, "agent-1", ready=False)
    empty = replace(empty, facts={**empty.facts, "agent-1": situation(spec(1)).facts["agent-1"]})
    assert [step.action for step in plan_stages(empty).steps] == ["forget-node", "apply-agent"]


def test_a_node_that_the_cluster_does_not_know_needs_no_drain() -> None:
    there = running(2)
    server = there.facts["server-1"]
    assert server.cluster is not None
    nodes = tuple(node for node in server.cluster.nodes if node.name != "agent-1")
    there = with_server(there, replace(server, cluster=replace(server.cluster, nodes=nodes)))
    found = needs(plan_stages(rolled_out(there)))
    assert (found["agent-1/apply-agent"], "agent-1/drain-node" in found) == ((), False)
    assert found["agent-2/drain-node"] == ("agent-1/apply-agent",)


def test_a_restart_that_wants_a_drain_is_refused_where_no_server_answers() -> None:
    there = rolled_out(running(2))
    gone = Failure("ssh.timeout", "the host does not answer")
    agents = {name: facts for name, facts in there.facts.items() if name != "server-1"}
    silent = replace(there, facts=agents, unreached={"server-1": gone})
    plan = plan_stages(silent)
    assert [(item.host, item.failure.code, item.failure.exit_code) for item in plan.refusals] == [
        ("agent-1", "rollout.no-server", 4),
        ("agent-2", "rollout.no-server", 4),
    ]
    assert not [step for step in plan.steps if isinstance(step, ApplyAgent)]
    without = plan_stages(replace(silent, spec=wishing(there.spec, drain=False)))
    assert list(needs(without)) == ["agent-1/apply-agent", "agent-2/apply-agent"]


def test_where_a_server_is_mended_first_it_is_asked_then() -> None:
    """Or the file that mends the server could not be applied."""
    there = running(1)
    silent = with_server(there, replace(there.facts["server-1"], cluster=None))
    plan = plan_stages(rolled_out(silent, agent=AGENT, server={"disable": ["traefik"]}))
    found = needs(plan)
    assert found["agent-1/drain-node"] == ("server-1/apply-server",)
    assert found["agent-1/uncordon-node"] == ("agent-1/apply-agent", "server-1/apply-server")


def test_a_cordon_that_a_killed_run_left_is_lifted() -> None:
    left = with_node(running(2), "agent-1", schedulable=False, own_cordon=True)
    plan = plan_stages(left)
    assert needs(plan) == {"agent-1/uncordon-node": ()}
    assert (plan.steps[0].impact, plan.steps[0].subject) == ("change", "agent-1")
    # Its restart was left undone: it ends with that, drained anew or not.
    assert needs(plan_stages(rolled_out(left, drain=False)))["agent-1/uncordon-node"] == ("agent-1/apply-agent",)
    drained = plan_stages(rolled_out(left))
    assert [step.id for step in drained.steps if step.subject == "agent-1"] == [
        "agent-1/drain-node",
        "agent-1/apply-agent",
        "agent-1/uncordon-node",
    ]


def test_what_was_left_cordoned_takes_pods_before_another_is_drained() -> None:
    done = running(2)
    changed = wishing(done.spec)
    first = executed(wish_again(done, changed), plan_stages(wish_again(done, changed)))
    half = replace(wish_again(first, changed), facts={**first.facts, "agent-2": done.facts["agent-2"]})
    left = with_node(half, "agent-1", schedulable=False, own_cordon=True)
    found = needs(plan_stages(left))
    assert (found["agent-1/uncordon-node"], found["agent-2/drain-node"]) == ((), ("agent-1/uncordon-node",))


def test_a_persons_cordon_is_left_alone() -> None:
    assert plan_stages(with_node(running(2), "agent-1", schedulable=False)).is_empty


@pytest.mark.parametrize("known", [True, False])
def test_a_node_that_may_be_broken_stays_cordoned(known: bool) -> None:
    left = with_node(running(2), "agent-1", schedulable=False, own_cordon=True, ready=not known)
    if not known:
        left = replace(left, facts={name: facts for name, facts in left.facts.items() if name != "agent-1"})
    plan = plan_stages(left)
    assert not [step for step in plan.steps if isinstance(step, UncordonNode)]
    assert any("an earlier apply left it cordoned; it stays cordoned" in note for note in plan.notes)


def test_the_cluster_is_not_validated_while_a_cordon_is_being_lifted() -> None:
    joining = wish_again(with_node(running(1), "agent-1", schedulable=False, own_cordon=True), spec(2))
    plan = plan_stages(joining)
    assert sorted(needs(plan)) == ["agent-1/uncordon-node", "agent-2/apply-agent"]
    assert not only_new_agents_join(joining, plan)


def test_a_limited_plan_drains_the_named_node_and_says_nothing_of_others() -> None:
    there = with_node(running(3), "agent-1", schedulable=False)
    there = with_node(there, "agent-2", schedulable=False, own_cordon=True)
    plan = plan_stages(replace(rolled_out(there), limit=frozenset({"agent-1", "agent-3"})))
    assert list(needs(plan)) == [
        "agent-1/drain-node",
        "agent-1/apply-agent",
        "agent-3/drain-node",
        "agent-3/apply-agent",
        "agent-3/uncordon-node",
    ]
    assert [note.partition(":")[0] for note in plan.notes if "cordoned" in note] == ["agent-1"]
