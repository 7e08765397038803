"""What an operation looks at before it plans: also the release's files, for machines that cannot fetch them."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from productive_k3s_infra.artifacts import release
from productive_k3s_infra.inventory.survey import Survey, SurveyedMachine
from productive_k3s_infra.operations.observe import observe
from productive_k3s_infra.operations.session import fleet_of, inventory_of, open_session
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.progress.interaction import Interaction
from static.artifacts.mirror import mirror

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


async def test_machines_without_a_way_out_get_the_release_and_its_images_from_this_computer(
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
        async with fleet_of(session, inventory) as fleet:
            found = await observe(session, survey, inventory, fleet)
    files = found.resolved.files["amd64"]
    assert files.pushed
    assert [item.name for item in files.images] == ["k3s-airgap-images-amd64.tar.zst"]
    assert {item.sha256 for item in (files.binary, *files.images)} == set(found.resolved.local_files)
    steps = [step.id for step in plan_stages(found.situation).steps]
    assert "server-1/stage-artifacts" in steps
    assert "agent-1/stage-artifacts" in steps
