"""PURE: the whole procedure of `apply`, as one list. Nothing is in a plan that no rule here found."""

from __future__ import annotations

from productive_k3s_infra.plan import cluster, foreseen, leaving, machines, removal, replacement
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Stage, plan_by

MACHINES = Stage(
    "machines",
    (
        replacement.refused_replacements,
        replacement.replaced_machines,
        machines.shared_resources,
        machines.missing_machines,
        machines.destroyed_by_provider,
        machines.differing_machines,
        machines.provider_notes,
    ),
    afterwards=foreseen.with_machines,
)

CLUSTER = Stage(
    "cluster",
    (
        cluster.file_warnings,
        cluster.unreached_hosts,
        removal.stale_nodes,
        cluster.servers,
        cluster.node_labels,
        cluster.agents,
        removal.leaving_machines,
        leaving.leaving_nodes,
        leaving.leaving_hosts,
        leaving.undeclared_nodes,
        cluster.notes,
    ),
)

STAGES = (MACHINES, CLUSTER)


def plan_stages(situation: Situation) -> Plan:
    """Return every step that makes the cluster what the file says.

    Steps on machines to come are planned on what those are expected to be, and marked so.
    """
    return plan_by(STAGES, situation)
