"""Every use case's plan from nothing, as a person reads it. `pytest --golden` writes what this finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.inventory.build import build_inventory, declared_location
from productive_k3s_infra.inventory.survey import Assumption, MachineState, Survey, SurveyedMachine
from productive_k3s_infra.plan.model import Plan, ReleaseFiles
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.plan.text import plan_lines
from static.plan.clusters import BINARY, IMAGES, empty_host

USE_CASES = Path(__file__).resolve().parents[3] / "use-cases"
FULL = Path(__file__).with_name("golden")
ASSUMPTIONS = {
    "multipass": Assumption("ubuntu", "24.04", "amd64", "ens3"),
    "aws": Assumption("ubuntu", "24.04", "amd64", "ens5"),
}
ENVIRONMENT = {"ONPREM_SERVER": "10.0.0.11", "ONPREM_AGENT_1": "10.0.0.21", "ONPREM_AGENT_2": "10.0.0.22"} | {
    "MY_NETWORK": "203.0.113.7/32"
}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in USE_CASES.glob("*/cluster.yaml")))
def test_the_plan_in_the_folder_is_the_plan_from_nothing(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    key = tmp_path / "key"
    key.write_text("a key")
    key.chmod(0o600)
    folder = USE_CASES / name
    plan = plan_from_nothing(folder / "cluster.yaml", key)
    for golden, full in ((folder / "plan.txt", False), (FULL / f"{name}.txt", True)):
        found = "".join(f"{line}\n" for line in plan_lines(plan, full=full))
        if request.config.getoption("--golden"):
            golden.write_text(found)
        assert found == golden.read_text()


def plan_from_nothing(file: Path, key: Path) -> Plan:
    spec = load_cluster_file(file, {**ENVIRONMENT, "ONPREM_SSH_KEY": str(key)})
    real = spec.provider.kind == "onprem"
    assumption = ASSUMPTIONS.get(spec.provider.kind, Assumption())
    inventory = build_inventory(spec, {node.name: declared_location(spec, node) for node in spec.nodes if real})
    facts = {host.name: empty_host(host.name, host.address) for host in inventory.hosts if not host.assumed}
    pushed = spec.delivery == "push"
    images = (replace(IMAGES, url=None),) if pushed else ()
    binary = replace(BINARY, url=None) if pushed else BINARY
    files = {"amd64": ReleaseFiles(spec.k3s.version, "amd64", binary, images, pushed)}
    state: MachineState = "running" if real else "missing"
    survey = Survey(not real, tuple(SurveyedMachine(host.name, state) for host in inventory.hosts), (), assumption)
    return plan_stages(Situation(spec, inventory, facts, files, survey=survey))
