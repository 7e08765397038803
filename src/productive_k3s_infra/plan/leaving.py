"""PURE: rules for hosts that are nobody's machines, and that the cluster file does not name any more.

Their nodes are drained and leave the cluster; then K3s is uninstalled on them, over the way that cluster.lock has kept
for this alone. What has no mark of this cluster is somebody else's: it is named, and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from productive_k3s.contract.facts import NodeFact
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.plan.mark import is_ours
from productive_k3s_infra.plan.removal import node_leaves
from productive_k3s_infra.plan.requests import Leaving, Situation
from productive_k3s_infra.plan.rule import Draft, Item, Note
from productive_k3s_infra.plan.servers import live_server
from productive_k3s_infra.plan.step import ForgetNode, RemoveNode, UninstallHost

_REASON = "the node is no longer in the file"


def leaving_nodes(situation: Situation, draft: Draft) -> Iterator[Item]:
    """Nodes with our mark that nobody declares leave, after new ones have joined."""
    asked = live_server(situation)
    if asked is None or situation.survey.owns_machines:
        return
    for node in _ours(situation, asked[1].nodes):
        yield from node_leaves(asked[0].name, node, draft.applying, _REASON)


def leaving_hosts(situation: Situation, draft: Draft) -> Iterator[Item]:
    """K3s goes from their hosts once their nodes have left. Where a host cannot be reached it stays, and it is said."""
    if situation.survey.owns_machines:
        return
    asked = live_server(situation)
    nodes = {node.name for node in asked[1].nodes} if asked is not None else set()
    ours = {node.name for node in _ours(situation, asked[1].nodes)} if asked is not None else set()
    steps = [step for step in draft.steps if isinstance(step, RemoveNode | ForgetNode)]
    for name in sorted({*situation.leaving, *ours}):
        after = tuple(step.id for step in steps if step.node == name)
        if name in nodes and not after:
            continue
        if asked is None:
            yield Note(
                f"{name}: K3s on it is not changed, because no server reports whether its node has left", (name,)
            )
            continue
        yield from _host(situation, name, situation.leaving.get(name), after)


def _host(situation: Situation, name: str, leaving: Leaving | None, needs: tuple[str, ...]) -> Iterator[Item]:
    record = situation.record
    if leaving is None or record is None:
        unknown = "K3s stays on its host, because cluster.lock does not record how to reach it"
        yield Note(f"{name}: {unknown}; {_by_hand(situation)}", (name,))
        return
    facts = leaving.facts
    if facts is None:
        why = leaving.failure.what if leaving.failure is not None else "it did not answer"
        gone = "if it is gone for good, remove it from cluster.lock"
        again = "when it answers, pk3s apply uninstalls K3s"
        stays = f"K3s stays on {leaving.host.endpoint}: {why}; {again}; {_by_hand(situation)}; {gone}"
        yield Note(f"{name}: {stays}", (name,))
    elif facts.k3s.ca_hash and facts.k3s.ca_hash != record.ca_hash:
        other = f"the host at {leaving.host.endpoint} now belongs to another cluster; it is not changed"
        yield Note(f"{name}: {other}", (name,))
    elif needs or facts.k3s.role is not None or facts.k3s.ca_hash:
        yield UninstallHost(
            id=f"{name}/uninstall",
            host=name,
            reason="its node has left; K3s and the volumes on the host are removed; the host stays",
            impact="disrupt",
            needs=needs,
            role="agent",
            ca_hash=record.ca_hash if facts.k3s.ca_hash else None,
        )


def _by_hand(situation: Situation) -> str:
    record = situation.record
    cluster = record.ca_hash[:8] if record is not None else "HASH8"
    return f"manually there, as root: productive-k3s uninstall --cluster {cluster} --yes"


def _ours(situation: Situation, nodes: tuple[NodeFact, ...]) -> tuple[NodeFact, ...]:
    declared = {host.name for host in situation.inventory.hosts}
    return tuple(node for node in nodes if node.name not in declared and is_ours(node, situation.spec.name))


def undeclared_nodes(situation: Situation, draft: Draft) -> Iterator[Item]:
    """Nodes that nobody declared and that are not ours are named, and left alone."""
    asked = live_server(situation)
    if asked is None:
        return
    leaving = {step.node for step in draft.steps if isinstance(step, RemoveNode | ForgetNode)}
    declared = {*situation.survey.extra, *leaving, *(host.name for host in situation.inventory.hosts)}
    found = [node.name for node in asked[1].nodes if node.name not in declared]
    if found:
        yield Note(f"in the cluster, but not in the file: {', '.join(found)}; they are not changed", tuple(found))


def still_leaving(situation: Situation, cleaned: frozenset[str]) -> dict[str, Host]:
    """Return the hosts of which cluster.lock still has to know how they are reached."""
    return {
        name: leaving.host
        for name, leaving in situation.leaving.items()
        if name not in cleaned and not (leaving.facts is not None and _is_clean(leaving))
    }


def _is_clean(leaving: Leaving) -> bool:
    k3s = leaving.facts.k3s if leaving.facts is not None else None
    return k3s is not None and k3s.role is None and not k3s.ca_hash
