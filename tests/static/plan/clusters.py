"""Clusters as situations, and a pure model of what executing a plan does to them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from productive_k3s.contract.facts import Facts, Interface
from productive_k3s.contract.request import Artifact, Join
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.cluster_file.model import ClusterSpec, K3s, Node, OnpremProvider
from productive_k3s_infra.inventory.build import build_inventory, declared_location
from productive_k3s_infra.inventory.survey import MachineState, Survey, SurveyedMachine
from productive_k3s_infra.plan.model import Plan, ReleaseFiles
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, ForgetNode, RemoveNode, Step
from static.contract_program.hosts import TOKEN, VERSION, after, agent, fresh

BINARY = Artifact("k3s", "1" * 64, "https://releases.example/k3s")
IMAGES = Artifact("k3s-airgap-images-amd64.tar", "2" * 64, "https://releases.example/images")


def spec(agents: int = 2, **wishes: object) -> ClusterSpec:
    nodes = [Node(name="server-1", role="server", address="10.0.0.11")]
    nodes += [Node(name=f"agent-{n}", role="agent", address=f"10.0.0.{20 + n}") for n in range(1, agents + 1)]
    k3s = K3s(version=VERSION, **wishes)  # type: ignore[arg-type]
    return ClusterSpec(name="edge", provider=OnpremProvider(kind="onprem"), k3s=k3s, nodes=tuple(nodes))


def empty_host(name: str, address: str) -> Facts:
    return fresh(
        hostname=name,
        machine_id=hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
        cgroup_controllers=("cpu", "cpuset", "io", "memory", "pids"),
        interfaces=(Interface("eth0", True, "", (f"{address}/24",)),),
    )


def situation(wish: ClusterSpec, *, pushed: bool = False) -> Situation:
    """Hosts on which there never was a K3s."""
    inventory = build_inventory(wish, {node.name: declared_location(wish, node) for node in wish.nodes})
    facts = {host.name: empty_host(host.name, host.address) for host in inventory.hosts}
    binary, images = (replace(item, url=None) if pushed else item for item in (BINARY, IMAGES))
    files = ReleaseFiles(VERSION, "amd64", binary, (images,), pushed)
    return Situation(wish, inventory, facts, {"amd64": files})


def wish_again(before: Situation, wish: ClusterSpec) -> Situation:
    """The same hosts under a changed cluster file; hosts that are new to it are empty."""
    changed = situation(wish, pushed=before.files["amd64"].pushed)
    return replace(changed, facts={**changed.facts, **before.facts}, record=before.record)


def executed(before: Situation, plan: Plan) -> Situation:
    """The situation after every step of the plan went well."""
    assert not plan.refusals, plan.refusals
    facts = dict(before.facts)
    for step in plan.steps:
        if step.host in facts:
            facts[step.host] = _after_step(facts[step.host], step)
    server = before.inventory.founder.name
    cluster = facts[server].cluster
    if cluster is not None:
        gone = {step.node for step in plan.steps if isinstance(step, ForgetNode)}
        cluster = replace(cluster, nodes=tuple(node for node in cluster.nodes if node.name not in gone))
        known = {node.name for node in cluster.nodes}
        joined = [
            replace(cluster.nodes[0], name=step.host, labels=dict(step.request.labels), roles=())
            for step in plan.steps
            if isinstance(step, ApplyAgent) and step.host not in known
        ]
        left = {step.node for step in plan.steps if isinstance(step, RemoveNode)}
        nodes = tuple(node for node in (*cluster.nodes, *joined) if node.name not in left)
        facts[server] = replace(facts[server], cluster=replace(cluster, nodes=nodes))
    return replace(before, facts=facts)


def _after_step(facts: Facts, step: Step) -> Facts:
    if not isinstance(step, ApplyServer | ApplyAgent):
        return facts
    request = step.request
    if isinstance(step, ApplyAgent) and step.token is not None:
        assert request.join is not None
        request = replace(request, join=Join(request.join.server, Secret(TOKEN)))
    for change in step.changes:
        facts = after(request, facts, change)
    return facts


def with_survey(before: Situation, **states: MachineState) -> Situation:
    """The same, where a provider made the machines and sees them so (`agent_1="missing"`)."""
    machines = tuple(SurveyedMachine(name.replace("_", "-"), state) for name, state in states.items())
    return replace(before, survey=Survey(True, machines))


def an_agent(**parts: Any) -> ApplyAgent:
    """A step that joins an agent; nothing of its request matters but what is given."""
    given: dict[str, Any] = {
        "id": "agent-1/apply-agent",
        "host": "agent-1",
        "reason": "it shall join",
        "impact": "change",
        "request": agent(join=None),
        **parts,
    }
    return ApplyAgent(**given)
