"""PURE: what is made of a cluster that runs already: the text of its file, and the first plan on it."""

from __future__ import annotations

import yaml

from productive_k3s_infra.adopt.document import AdoptedFile
from productive_k3s_infra.adopt.running_cluster import RunningCluster
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.inventory.build import build_inventory, declared_location
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import plan_stages


def render(content: AdoptedFile) -> str:
    """Return the file's text: remarks as comments at the top, then the document."""
    lines = ["Written by pk3s init --from-host: the state of the cluster at that time. Edit it, then run pk3s plan."]
    if content.remarks:
        lines += ["", "What this file does not contain:", *(f"- {remark}" for remark in content.remarks)]
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return head + yaml.safe_dump(content.document, sort_keys=False, default_flow_style=False, width=110)


def first_plan(spec: ClusterSpec, cluster: RunningCluster, content: AdoptedFile) -> Plan:
    """Plan on what was just seen. The release's files are not looked up: the version runs on all hosts."""
    inventory = build_inventory(spec, {node.name: declared_location(spec, node) for node in spec.nodes})
    facts = {host.node_name: host.facts for host in cluster.hosts}
    return plan_stages(Situation(spec, inventory, facts, record=content.record))
