"""PURE: the situation as it will be once the stage of the machines has ended well."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from productive_k3s_infra.plan.assumed import assumed_facts
from productive_k3s_infra.plan.machines import coming
from productive_k3s_infra.plan.replacement import replaced
from productive_k3s_infra.plan.requests import Situation


def with_machines(situation: Situation) -> Situation:
    """Return the situation with the machines to come, on assumed facts, and without the nodes of replaced ones."""
    anew = replaced(situation)
    absent = {machine.name for machine in coming(situation).machines if machine.state == "missing"}
    hosts = tuple(replace(host, assumed=True) if host.name in anew else host for host in situation.inventory.hosts)
    assumed = {host.name: assumed_facts(host, situation.survey.assumption) for host in hosts if host.name in absent}
    changed = replace(
        situation,
        inventory=replace(situation.inventory, hosts=hosts),
        facts={**situation.facts, **assumed},
    )
    return without_nodes(changed, anew)


def without_nodes(situation: Situation, names: Collection[str]) -> Situation:
    """Return the situation as it will be once these nodes have left the cluster."""
    left = {}
    for name, facts in situation.facts.items():
        if facts.cluster is not None:
            nodes = tuple(node for node in facts.cluster.nodes if node.name not in names)
            left[name] = replace(facts, cluster=replace(facts.cluster, nodes=nodes))
    return replace(situation, facts={**situation.facts, **left})
