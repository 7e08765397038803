"""PURE: nodes leave the cluster before their machines go; and a machine never goes before its node has left."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from productive_k3s.contract.facts import ClusterFacts, Facts
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.plan.model import Plan, Refusal, Step
from productive_k3s_infra.plan.requests import Situation

_NOT_IN_FILE = "the node is not in the file any more"
_JOINS = ("apply-server", "apply-agent")


def plan_removal(situation: Situation, joins: tuple[Step, ...], *, reason: str = _NOT_IN_FILE) -> Plan:
    """Return the steps that take the machines in `situation.leaving` away, each after its node, all after `joins`.

    New nodes join first, so that what is drained has somewhere to go.
    """
    needs = tuple(step.id for step in joins if step.action in _JOINS)
    parts = [_removal(situation, name, needs, reason) for name in situation.leaving]
    return Plan(
        situation.spec.name,
        tuple(step for part in parts for step in part if isinstance(step, Step)),
        refusals=tuple(item for part in parts for item in part if isinstance(item, Refusal)),
        notes=tuple(item for part in parts for item in part if isinstance(item, str)),
    )


def plan_stale(situation: Situation) -> Plan:
    """Return the steps that delete Nodes of agents whose hosts have lost what they joined with.

    K3s keeps a password for each Node, and refuses a host of that name which does not know it (K3s: "Node password
    rejected"; k3s-observed). Deleting the Node deletes the password. A Node that lives is another host's: refused.
    """
    first = situation.inventory.first_server.name
    server = situation.facts.get(first)
    if server is None or server.cluster is None or not server.cluster.reachable:
        return Plan(situation.spec.name, ())
    nodes = {node.name: node for node in server.cluster.nodes}
    steps: list[Step] = []
    refusals: list[Refusal] = []
    for host in situation.inventory.agents:
        facts, node = situation.facts.get(host.name), nodes.get(host.name)
        if facts is None or node is None or facts.k3s.has_node_password or _runs_k3s(facts):
            continue
        if node.ready and not situation.owned:
            what = "another host lives in the cluster by this name"
            remedy = "give this host another name in the file, or take the other one out of the cluster first"
            taken = Failure("machine.name-in-use", what, f"at {node.internal_ip}", remedy, 4)
            refusals.append(Refusal(host.name, taken))
        else:
            reason = "its Node is that of a host that is gone; K3s would refuse the new one"
            steps.append(_forget(first, host.name, reason, ()))
    return Plan(situation.spec.name, tuple(steps), refusals=tuple(refusals))


def _runs_k3s(facts: Facts) -> bool:
    """A host that runs is the Node itself, whatever became of its password."""
    return any(unit.active_state == "active" for unit in facts.k3s.units)


def without_nodes(situation: Situation, names: Collection[str]) -> Situation:
    """Return the situation as it will be once these nodes have left the cluster."""
    first = situation.inventory.first_server.name
    server = situation.facts.get(first)
    if server is None or server.cluster is None or not names:
        return situation
    nodes = tuple(node for node in server.cluster.nodes if node.name not in names)
    left = replace(server, cluster=replace(server.cluster, nodes=nodes))
    return replace(situation, facts={**situation.facts, first: left})


def _forget(first: str, name: str, reason: str, needs: tuple[str, ...]) -> Step:
    return Step(
        id=f"{name}/forget-node",
        stage="cluster",
        host=first,
        node=name,
        action="forget-node",
        reason=reason,
        impact="disrupt",
        needs=needs,
    )


def _removal(situation: Situation, name: str, needs: tuple[str, ...], reason: str) -> tuple[Step | Refusal | str, ...]:
    first = situation.inventory.first_server.name
    facts = situation.facts.get(first)
    cluster = facts.cluster if facts is not None else None
    if cluster is None or not cluster.reachable:
        if situation.record is None and facts is not None and facts.k3s.datastore is None:
            return (_destroy(name, needs, "its machine has no part in a cluster"),)
        return (f"{name}: its machine is left alone, as the cluster does not say whether its node has left",)
    return tuple(_of_member(cluster, first, name, needs, reason))


def _of_member(
    cluster: ClusterFacts, first: str, name: str, needs: tuple[str, ...], reason: str
) -> Iterator[Step | Refusal]:
    node = next((node for node in cluster.nodes if node.name == name), None)
    if node is None:
        yield _destroy(name, needs, "the machine is not in the file any more, and its node is not in the cluster")
        return
    if "control-plane" in node.roles or "master" in node.roles:
        remedy = "put the server back into the file; pk3s destroy takes the whole cluster away"
        what = "its node is the cluster's server, with the datastore"
        yield Refusal(name, Failure("machine.only-server", what, f"roles: {', '.join(node.roles)}", remedy, 4))
        return
    if not node.ready:
        forget = _forget(
            first, name, f"{reason}: its node is not Ready, so nothing can be drained; it is deleted", needs
        )
        yield forget
        yield _destroy(name, (forget.id,), "its node has left; its disk and the volumes on it are lost")
        return
    leave = Step(
        id=f"{name}/remove-node",
        stage="cluster",
        host=first,
        node=name,
        action="remove-node",
        reason=f"{reason}: it is drained, and leaves the cluster",
        impact="disrupt",
        needs=needs,
    )
    yield leave
    yield _destroy(name, (leave.id,), "its node has left; its disk and the volumes on it are lost")


def _destroy(name: str, needs: tuple[str, ...], reason: str) -> Step:
    return Step(
        id=f"{name}/destroy-machine",
        stage="cluster",
        host=name,
        action="destroy-machine",
        reason=reason,
        impact="disrupt",
        needs=needs,
    )
