"""PURE: the one step of a person who cordons, drains or uncordons a node, and which server is asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from productive_k3s.contract.facts import ClusterFacts, Facts
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.servers import live_server
from productive_k3s_infra.plan.step import CordonNode, DrainNode, Step, UncordonNode

PersonsVerb = Literal["cordon", "drain", "uncordon"]


def plan_by_hand(cluster: str, verb: PersonsVerb, server: str, node: str, timeout_seconds: float) -> Plan:
    """Return the plan of one step: what it does to the cordon is a person's, not an apply's."""
    return Plan(cluster, (_step(verb, server, node, timeout_seconds),))


def _step(verb: PersonsVerb, server: str, node: str, timeout_seconds: float) -> Step:
    name = f"{node}/{verb}-node"
    if verb == "cordon":
        reason = f"it takes no new pods until pk3s uncordon {node}"
        return CordonNode(id=name, host=server, node=node, reason=reason, impact="change", stage="node")
    if verb == "uncordon":
        reason = "it takes new pods again"
        return UncordonNode(
            id=name, host=server, node=node, reason=reason, impact="change", by_apply=False, stage="node"
        )
    return DrainNode(
        id=name,
        host=server,
        node=node,
        reason=f"its pods are moved to other nodes, and it takes no new ones until pk3s uncordon {node}",
        impact="disrupt",
        timeout_seconds=timeout_seconds,
        by_apply=False,
        stage="node",
    )


def answering(situation: Situation) -> tuple[Host, ClusterFacts] | None:
    """Return a server through which this cluster answers, and what it says; one of another cluster is never asked."""
    ours = {name: facts for name, facts in situation.facts.items() if not _is_strange(situation, facts)}
    return live_server(replace(situation, facts=ours))


def why_silent(situation: Situation) -> Iterator[str]:
    """Say for each server why it is not asked."""
    for host in situation.inventory.servers:
        facts, failure = situation.facts.get(host.name), situation.unreached.get(host.name)
        if failure is not None:
            yield f"{host.name}: {failure.what}"
        elif facts is None:
            yield f"{host.name}: its machine is not running"
        elif _is_strange(situation, facts):
            yield f"{host.name}: it belongs to another cluster than cluster.lock records"
        elif facts.cluster is None:
            yield f"{host.name}: K3s does not run there"
        else:
            yield f"{host.name}: {facts.cluster.evidence}"


def _is_strange(situation: Situation, facts: Facts) -> bool:
    record = situation.record
    return record is not None and bool(facts.k3s.ca_hash) and facts.k3s.ca_hash != record.ca_hash
