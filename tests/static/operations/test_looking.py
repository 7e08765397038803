"""The plan of all stages: what comes to a machine that is made anew, and what does not come when it must not be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from productive_k3s_infra.artifacts import release
from productive_k3s_infra.artifacts.release import Resolved
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.inventory.survey import Assumption, Survey, SurveyedMachine
from productive_k3s_infra.operations.looking import View, look, plan_of
from productive_k3s_infra.operations.session import fleet_of, inventory_of, open_session
from productive_k3s_infra.plan.pipeline import plan_cluster
from productive_k3s_infra.progress.interaction import Interaction
from static.artifacts.mirror import mirror
from static.plan.clusters import executed, situation, spec

FILE = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  provider: {kind: local}
  k3s: {version: v1.34.4+k3s1}
  nodes:
    - {name: server-1, role: server}
    - {name: agent-1, role: agent}
"""
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


def test_machines_without_a_way_out_get_the_release_and_its_images_from_this_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(FILE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with mirror() as github:
        monkeypatch.setattr(release, "RELEASES", github.url)
        session = open_session(file, {}, Mock(spec=Interaction))
        survey = Survey(True, (SurveyedMachine("server-1", "missing"), SurveyedMachine("agent-1", "missing")))
        inventory = inventory_of(session, survey)

        async def seen() -> View:
            async with fleet_of(session, inventory) as fleet:
                return await look(session, survey, inventory, fleet)

        found = asyncio.run(seen())
    files = found.resolved.files["amd64"]
    assert files.pushed
    assert [item.name for item in files.images] == ["k3s-airgap-images-amd64.tar.zst"]
    assert {item.sha256 for item in (files.binary, *files.images)} == set(found.resolved.local_files)
    steps = [step.id for step in plan_of(found, survey).steps]
    assert "server-1/stage-artifacts" in steps
    assert "agent-1/stage-artifacts" in steps


def test_machines_to_come_are_refused_for_what_they_will_be() -> None:
    there = view()
    wish = there.situation.spec
    wish = wish.model_copy(update={"k3s": wish.k3s.model_copy(update={"version": "v1.36.4+k3s1"})})
    missing = tuple(SurveyedMachine(host.name, "missing") for host in there.inventory.hosts)
    for version, refused in ((2, []), (1, ["server-1", "agent-1"])):
        survey = Survey(True, missing, assumption=Assumption(cgroup_version=version))
        plan = plan_of(replace(there, situation=replace(there.situation, spec=wish, facts={}, record=None)), survey)
        vetoes = [refusal for refusal in plan.refusals if refusal.failure.code == "host.cgroup-v1"]
        assert [refusal.host for refusal in vetoes] == refused
