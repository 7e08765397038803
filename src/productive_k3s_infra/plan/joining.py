"""PURE: is all that a plan does, apart from the founder's own steps, to join new agents?"""

from __future__ import annotations

from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.servers import has_members, live_server
from productive_k3s_infra.plan.step import UncordonNode


def only_new_agents_join(situation: Situation, plan: Plan) -> bool:
    """Return whether the cluster can be validated while the plan's agents still join.

    A node that is Ready already and changes in this run would be looked at too early. An agent without K3s, of which
    the cluster has no Node either, cannot be Ready before its step has come that far.
    """
    founder = situation.inventory.founder.name
    others = [step for step in plan.of_stage("cluster") if step.host != founder or isinstance(step, UncordonNode)]
    if founder not in situation.facts:
        return False
    asked = live_server(situation)
    if asked is None and has_members(situation):
        return False
    known = {node.name for node in asked[1].nodes} if asked is not None else set()
    agents = {host.name for host in situation.inventory.agents}
    fresh = {name for name, facts in situation.facts.items() if facts.k3s.role is None and name not in known}
    return bool(others) and all(step.host in agents & fresh for step in others)
