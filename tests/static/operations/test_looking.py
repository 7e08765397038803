"""The plan of all stages: what comes to a machine that is made anew, and what does not come when it must not be."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s_infra.artifacts.release import Resolved
from productive_k3s_infra.hosts.fleet.gathering import Observed
from productive_k3s_infra.inventory.survey import Survey, SurveyedMachine
from productive_k3s_infra.operations.looking import View, plan_of
from productive_k3s_infra.plan.pipeline import plan_cluster
from static.plan.clusters import executed, situation, spec

BOTH = (SurveyedMachine("server-1", "running"), SurveyedMachine("agent-1", "running"))
SURVEY = Survey(True, BOTH, notes=("a note of the provider",))


def view() -> View:
    before = situation(spec(1))
    there = executed(before, plan_cluster(before))
    return View(there.inventory, Observed({}, {}), there, Resolved(there.files, {}))


def test_a_machine_that_is_made_anew_leaves_goes_comes_and_joins() -> None:
    plan = plan_of(view(), SURVEY, ["agent-1"])
    assert [(step.id, step.needs) for step in plan.steps] == [
        ("agent-1/remove-node", ()),
        ("agent-1/destroy-machine", ("agent-1/remove-node",)),
        ("agent-1/create-machine", ("agent-1/destroy-machine",)),
        ("agent-1/apply-agent", ("agent-1/create-machine",)),
    ]
    assert plan.steps[-1].assumed
    assert "a note of the provider" in plan.notes


def test_a_refused_replacement_is_the_only_thing_that_is_said() -> None:
    plan = plan_of(view(), SURVEY, ["server-1"])
    assert [(item.host, item.failure.code) for item in plan.refusals] == [("server-1", "machine.only-server")]
    assert not plan.steps


def test_without_a_cluster_that_answers_nobody_is_replaced() -> None:
    there = view()
    server = replace(there.situation.facts["server-1"], cluster=None)
    silent = replace(there.situation, facts={**there.situation.facts, "server-1": server})
    plan = plan_of(replace(there, situation=silent), SURVEY, ["agent-1"])
    assert ("agent-1", "machine.no-replace") in [(item.host, item.failure.code) for item in plan.refusals]
    assert not [step for step in plan.steps if step.action == "destroy-machine"]


def test_a_machine_that_vanished_is_made_and_its_old_node_is_forgotten() -> None:
    seen = Survey(True, (BOTH[0], SurveyedMachine("agent-1", "missing")))
    there = view()
    gone = {name: facts for name, facts in there.situation.facts.items() if name != "agent-1"}
    plan = plan_of(replace(there, situation=replace(there.situation, facts=gone)), seen, ["agent-1"])
    assert [(step.id, step.needs) for step in plan.steps] == [
        ("agent-1/create-machine", ()),
        ("agent-1/forget-node", ()),
        ("agent-1/apply-agent", ("agent-1/create-machine", "agent-1/forget-node")),
    ]
