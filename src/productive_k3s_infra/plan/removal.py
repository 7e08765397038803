"""PURE: rules for nodes that leave: a machine never goes before its node has left the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from productive_k3s.contract.facts import ClusterFacts, Facts, NodeFact
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.plan.model import Refusal
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Draft, Item, Note
from productive_k3s_infra.plan.servers import has_members, live_server
from productive_k3s_infra.plan.step import DestroyMachine, ForgetNode, RemoveNode

_NOT_IN_FILE = "the node is no longer in the file"
_DISK_LOST = "its node has left; its disk and the volumes on it are lost"


def leaving_machines(situation: Situation, draft: Draft) -> Iterator[Item]:
    """Machines that the file does not name any more go, each after its node, all after new nodes have joined.

    So what is drained has somewhere to go.
    """
    for name in situation.survey.extra:
        yield from removal_of(situation, draft, name, _NOT_IN_FILE)


def stale_nodes(situation: Situation, _: Draft) -> Iterator[Item]:
    """Nodes of agents whose hosts have lost what they joined with are deleted.

    K3s keeps a password for each Node, and refuses a host of that name which does not know it (K3s: "Node password
    rejected"). Deleting the Node deletes the password. A Node that lives is another host's: refused.
    """
    asked = live_server(situation)
    if asked is None:
        return
    server, cluster = asked
    nodes = {node.name: node for node in cluster.nodes}
    for host in situation.inventory.agents:
        facts, node = situation.facts.get(host.name), nodes.get(host.name)
        if facts is None or node is None or facts.k3s.has_node_password or _runs_k3s(facts):
            continue
        if node.ready and not situation.survey.owns_machines:
            what = "another host in the cluster has this name"
            remedy = "give this host another name in the file, or remove the other one from the cluster first"
            yield Refusal(host.name, Failure("machine.name-in-use", what, f"at {node.internal_ip}", remedy, 4))
        else:
            reason = "its Node belongs to a host that no longer exists; K3s would refuse the new one"
            yield _forget(server.name, host.name, reason, ())


def _runs_k3s(facts: Facts) -> bool:
    """A host that runs is the Node itself, whatever became of its password."""
    return any(unit.active_state == "active" for unit in facts.k3s.units)


def removal_of(situation: Situation, draft: Draft, name: str, reason: str) -> Iterator[Item]:
    """Return what takes a machine away: its node leaves first. A note says why it is left alone, a refusal why not."""
    needs, asked = draft.applying, live_server(situation)
    if asked is not None:
        server, cluster = asked
        yield from _of_member(cluster, server.name, name, needs, reason)
    elif _never_founded(situation):
        yield _destroy(name, needs, "its machine does not belong to a cluster")
    else:
        yield Note(
            f"{name}: its machine is not changed, because the cluster does not report whether its node has left",
            (name,),
        )


def _never_founded(situation: Situation) -> bool:
    reached = all(host.name in situation.facts for host in situation.inventory.servers)
    return situation.record is None and reached and not has_members(situation)


def _of_member(cluster: ClusterFacts, server: str, name: str, needs: tuple[str, ...], reason: str) -> Iterator[Item]:
    node = next((node for node in cluster.nodes if node.name == name), None)
    if node is None:
        yield _destroy(name, needs, "the machine is no longer in the file, and its node is not in the cluster")
        return
    for item in node_leaves(server, node, needs, reason):
        yield item
        if isinstance(item, RemoveNode | ForgetNode):
            yield _destroy(name, (item.id,), _DISK_LOST)


def node_leaves(server: str, node: NodeFact, needs: tuple[str, ...], reason: str) -> Iterator[Item]:
    """Return the step that takes a node out of the cluster, drained where that can be; a server's is refused."""
    name = node.name
    if "control-plane" in node.roles or "master" in node.roles:
        remedy = "put the server back into the file; pk3s destroy removes the whole cluster"
        what = "its node is the cluster's server, which has the datastore"
        yield Refusal(name, Failure("machine.only-server", what, f"roles: {', '.join(node.roles)}", remedy, 4))
    elif not node.ready:
        why = f"{reason}: its node is not Ready, so nothing can be drained; it is deleted"
        yield _forget(server, name, why, needs)
    else:
        yield RemoveNode(
            id=f"{name}/remove-node",
            host=server,
            node=name,
            reason=f"{reason}: it is drained and removed from the cluster",
            impact="disrupt",
            needs=needs,
        )


def _forget(server: str, name: str, reason: str, needs: tuple[str, ...]) -> ForgetNode:
    return ForgetNode(id=f"{name}/forget-node", host=server, node=name, reason=reason, impact="disrupt", needs=needs)


def _destroy(name: str, needs: tuple[str, ...], reason: str) -> DestroyMachine:
    return DestroyMachine(id=f"{name}/destroy-machine", host=name, reason=reason, impact="disrupt", needs=needs)
