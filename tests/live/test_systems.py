"""The on-prem flow on the other systems that are supported: made, planned again, removed without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_bed import Bed, Release
from live.fingerprint import differences, fingerprint
from live.onprem_bed import ONE_LINE, make_onprem
from productive_k3s_infra.providers.local.machines import MachineRequest
from system_images import SUITES, image_of

NAMES = ("server-1", "agent-1")

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("suite", SUITES)
def test_the_whole_flow(suite: str, lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path: Path) -> None:
    requests = [MachineRequest(name, extra_user="ops", sudoers=ONE_LINE) for name in NAMES]
    nodes = lab.create(suite, *requests, image=image_of(suite, tmp_path))
    # On Ubuntu a user's first login leaves a mark at home.
    for one in nodes:
        lab.ssh(one, "true", user="ops")
    before = {one.name: fingerprint(lab, one) for one in nodes}
    onprem = make_onprem(tmp_path / "site", lab, k3s_release, kubectl_tool)
    site = onprem.write(*(onprem.node(one.name, one) for one in nodes), hosts_file=True)
    applied = site.expect(0, "apply", "--yes")
    assert "onprem: valid (full" in applied.out
    # The preflight knows this system.
    assert "[host.os]" not in applied.out + applied.err
    systems = {node["status"]["nodeInfo"]["osImage"] for node in site.get("nodes")}
    assert len(systems) == 1
    assert systems.pop().startswith(SUITES[suite])
    assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out
    site.expect(0, "destroy", "--yes")
    left = {one.name: differences(before[one.name], fingerprint(lab, one)) for one in nodes}
    assert left == {name: [] for name in NAMES}
