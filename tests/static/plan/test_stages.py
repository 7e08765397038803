"""The plan of all stages: what comes to a machine that is made anew, and what does not come when it must not be."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s_infra.inventory.survey import Assumption, Survey, SurveyedMachine
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import STAGES, plan_stages
from productive_k3s_infra.plan.step import DestroyMachine
from static.plan.clusters import executed, situation, spec

BOTH = (SurveyedMachine("server-1", "running"), SurveyedMachine("agent-1", "running"))
SURVEY = Survey(True, BOTH, notes=("a note of the provider",))


def there(*replacing: str, survey: Survey = SURVEY) -> Situation:
    """A cluster that runs on machines of a provider, of which some shall be made anew."""
    before = situation(spec(1))
    return replace(executed(before, plan_stages(before)), survey=survey, replacing=replacing)


def test_a_machine_that_is_made_anew_leaves_goes_comes_and_joins() -> None:
    plan = plan_stages(there("agent-1"))
    assert [(step.id, step.needs) for step in plan.steps] == [
        ("agent-1/remove-node", ()),
        ("agent-1/destroy-machine", ("agent-1/remove-node",)),
        ("agent-1/create-machine", ("agent-1/destroy-machine",)),
        ("agent-1/apply-agent", ("agent-1/create-machine",)),
    ]
    assert plan.steps[-1].assumed
    assert "a note of the provider" in plan.notes


def test_a_refused_replacement_is_the_only_thing_that_is_said() -> None:
    plan = plan_stages(there("server-1"))
    assert [(item.host, item.failure.code) for item in plan.refusals] == [("server-1", "machine.only-server")]
    assert not plan.steps


def test_without_a_cluster_that_answers_nobody_is_replaced() -> None:
    asked = there("agent-1")
    server = replace(asked.facts["server-1"], cluster=None)
    plan = plan_stages(replace(asked, facts={**asked.facts, "server-1": server}))
    assert ("agent-1", "machine.no-replace") in [(item.host, item.failure.code) for item in plan.refusals]
    assert not [step for step in plan.steps if isinstance(step, DestroyMachine)]


def test_a_machine_that_vanished_is_made_and_its_old_node_is_forgotten() -> None:
    seen = Survey(True, (BOTH[0], SurveyedMachine("agent-1", "missing")))
    asked = there("agent-1", survey=seen)
    gone = {name: facts for name, facts in asked.facts.items() if name != "agent-1"}
    plan = plan_stages(replace(asked, facts=gone))
    assert [(step.id, step.needs) for step in plan.steps] == [
        ("agent-1/create-machine", ()),
        ("agent-1/forget-node", ()),
        ("agent-1/apply-agent", ("agent-1/create-machine", "agent-1/forget-node")),
    ]


def test_the_procedure_is_one_list_of_named_rules() -> None:
    """Whoever wants to know what apply does reads this: the order of the stages, and of the rules in each."""
    assert [stage.name for stage in STAGES] == ["machines", "cluster"]
    rules = [rule.__name__ for stage in STAGES for rule in stage.rules]
    assert len(set(rules)) == len(rules)
    assert rules.index("replaced_machines") < rules.index("missing_machines") < rules.index("servers")
    assert rules.index("stale_nodes") < rules.index("agents") < rules.index("leaving_machines")


def test_each_step_knows_its_stage() -> None:
    steps = plan_stages(there("agent-1")).steps
    assert {step.id: step.stage for step in steps} == {
        "agent-1/remove-node": "machines",
        "agent-1/destroy-machine": "machines",
        "agent-1/create-machine": "machines",
        "agent-1/apply-agent": "cluster",
    }


def test_machines_to_come_are_refused_for_what_they_will_be() -> None:
    before = situation(spec(1))
    wish = before.spec.model_copy(update={"k3s": before.spec.k3s.model_copy(update={"version": "v1.36.4+k3s1"})})
    missing = tuple(SurveyedMachine(host.name, "missing") for host in before.inventory.hosts)
    told = Assumption(cgroup_version=1, allows_cgroup_v1=True)
    for assumption, refused in (
        (Assumption(), []),
        (Assumption(cgroup_version=1), ["server-1", "agent-1"]),
        (told, []),
    ):
        survey = Survey(True, missing, assumption=assumption)
        plan = plan_stages(replace(before, spec=wish, facts={}, survey=survey))
        vetoes = [refusal for refusal in plan.refusals if refusal.failure.code == "host.cgroup-v1"]
        assert [refusal.host for refusal in vetoes] == refused
