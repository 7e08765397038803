"""PURE: what a step is called while it runs."""

from __future__ import annotations

from collections import Counter

from productive_k3s_infra.plan.model import Plan

ACTIVITIES = {
    "shared-resources": "change shared resources",
    "create-machine": "create the machine",
    "start-machine": "start the machine",
    "destroy-machine": "destroy the machine",
    "destroy-shared": "destroy shared resources",
    "stage-artifacts": "push files",
    "apply-server": "server",
    "apply-agent": "agent",
    "label-node": "labels",
    "remove-node": "drain and remove the node",
    "forget-node": "remove the node",
    "cordon-node": "cordon",
    "drain-node": "drain",
    "uncordon-node": "uncordon",
    "uninstall": "uninstall K3s",
}
"""By the action of the step."""


def activities_of(plan: Plan) -> Counter[str]:
    """Return how often each activity comes in a plan."""
    return Counter(ACTIVITIES[step.action] for step in plan.steps)
