"""Agents that change are drained in turn, and whose a cordon is.

A cluster of its own: the flag that its agents get stays, as each change of it watches the first of them for 30 s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab_bed import Release
from pk3s_bed import Site, make_site

pytestmark = pytest.mark.live


@pytest.fixture
def site(tmp_path: Path, k3s_release: Release, kubectl_tool: Path) -> Iterator[Site]:
    site = make_site(tmp_path, k3s_release, kubectl_tool)
    try:
        site.expect(0, "apply", "--yes")
        yield site
    finally:
        site.close()


DRAINED = (
    "  nodes:\n",
    "    agent:\n      kubelet-arg: [max-pods=90]\n  rollout: {drain: true}\n  nodes:\n",
)


def test_agents_are_drained_in_turn_and_what_a_person_cordoned_stays_cordoned(
    site: Site,
) -> None:
    image = next(name for name in site.on("server-1", "k3s ctr -n k8s.io images ls -q").split() if "busybox" in name)
    site.kubectl("apply", "-f", "-", data=json.dumps(on_agents(image)))
    try:
        site.kubectl("rollout", "status", "deployment/moving", "--timeout=60s")
        before = {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in site.get("pods", "-l", "app=moving")}
        assert sorted(before.values()) == ["agent-1", "agent-2"]
        assert "agent-2 takes no new pods" in site.expect(0, "cordon", "agent-2").out
        with site.edited(DRAINED):
            applied = site.expect(0, "apply", "--yes", "-o", "json")
            # One batch ends before the next begins; who cordoned a node alone lifts that.
            assert [step.partition("/")[::2] for step in applied.steps] == [
                ("agent-1", "drain-node"),
                ("agent-1", "apply-agent"),
                ("agent-1", "uncordon-node"),
                ("agent-2", "drain-node"),
                ("agent-2", "apply-agent"),
            ]
            assert any("it was cordoned manually" in note for note in applied.document["plan"]["notes"])
            assert cordons(site) == {"server-1": (False, False), "agent-1": (False, False), "agent-2": (True, False)}
            site.kubectl("rollout", "status", "deployment/moving", "--timeout=60s")
            after = {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in site.get("pods", "-l", "app=moving")}
            assert not set(after) & set(before)
            assert "agent-2" not in after.values()
            assert "agent-2 takes new pods" in site.expect(0, "uncordon", "agent-2").out
            # What a killed apply leaves, the next one lifts; what kubectl cordons on top of its note is a person's.
            node = "python3 $(ls /usr/local/lib/productive-k3s/*.pyz | head -1) node"
            site.on("server-1", f"{node} cordon agent-1 --by-apply && {node} cordon agent-2 --by-apply")
            site.kubectl("uncordon", "agent-1")
            site.kubectl("cordon", "agent-1")
            assert cordons(site) == {"server-1": (False, False), "agent-1": (True, True), "agent-2": (True, True)}
            assert list(site.expect(0, "apply", "--yes", "-o", "json").steps) == ["agent-2/uncordon-node"]
            assert {name: cordoned for name, (cordoned, _) in cordons(site).items()} == {
                "server-1": False,
                "agent-1": True,
                "agent-2": False,
            }
            budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "moving"}}}
            document = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "keep-two"}}
            site.kubectl("apply", "-f", "-", data=json.dumps({**document, "spec": budget}))
            blocked = site.expect(5, "drain", "agent-1", "--yes", "--timeout", "3").out
            assert re.search(r"\[node.drain-blocked\]\n  seen: default/moving-\S+: .*keep-two", blocked), blocked
            assert "pk3s uncordon agent-1" in blocked
            site.kubectl("delete", "poddisruptionbudget", "keep-two")
            drained = site.expect(0, "drain", "agent-1", "--yes", "--timeout", "30", "-o", "json").document
            assert (drained["node"], drained["server"], drained["alone"]) == ("agent-1", "server-1", [])
            site.expect(0, "uncordon", "agent-1")
            assert set(cordons(site).values()) == {(False, False)}
            assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out
    finally:
        site.kubectl("uncordon", "agent-1", "agent-2")
        site.kubectl(
            "delete", "deployment,poddisruptionbudget", "moving", "keep-two", "--ignore-not-found", "--wait=false"
        )


def cordons(site: Site) -> dict[str, tuple[bool, bool]]:
    """Whether each node is cordoned, and whether an apply has noted that it did it."""
    return {
        node["metadata"]["name"]: (
            bool(node["spec"].get("unschedulable")),
            "productive-k3s.io/cordon" in node["metadata"]["annotations"],
        )
        for node in site.get("nodes")
    }


def on_agents(image: str) -> dict[str, Any]:
    """A Deployment of two replicas that would rather live on agents, and apart."""
    labels = {"app": "moving"}
    agents = {"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"}]}
    apart = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    spec = {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": agents}]
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "podAffinityTerm": apart}]
            },
        },
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {"name": "moving", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
        ],
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    deployment = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "moving"}, "spec": deployment}
