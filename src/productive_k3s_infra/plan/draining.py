"""PURE: nodes are drained before a rollout restarts them, and take new pods again afterwards.

Whose a cordon is stands on the Node: an apply lifts its own, also what a killed run left; a person's it never lifts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import refused
from productive_k3s_infra.plan.model import Refusal
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Draft, Item, Note
from productive_k3s_infra.plan.servers import live_server
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, DrainNode, ForgetNode, RemoveNode, UncordonNode


@dataclass(frozen=True)
class _Server:
    """Which server is asked, after which of its steps, and the nodes that stay, None where the cluster said nothing."""

    name: str
    needs: tuple[str, ...]
    nodes: dict[str, NodeFact] | None

    def left_cordoned(self, name: str) -> bool:
        """Whether an earlier apply has left the node cordoned."""
        return name in (self.nodes or {}) and (self.nodes or {})[name].own_cordon


def with_drains(situation: Situation, draft: Draft, items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items of agents in their turns, each restart between the drain of its node and the end of the cordon.

    What waited for a restart waits until its node takes pods again, and first go the cordons that an earlier apply has
    left: so no more nodes than a batch are cordoned at once. A restart whose node cannot be drained is said: refused
    where no server could be asked, noted where a node is not Ready, as nobody would end its pods, and the restart may
    be what mends it.
    """
    server = _server(situation, draft)
    left = tuple(_left_cordons(situation, items, server)) if server is not None else ()
    yield from left
    lifted = tuple(item.id for item in left if isinstance(item, UncordonNode))
    ends: dict[str, str] = {}
    for item in items:
        if not isinstance(item, ApplyAgent):
            yield item
            continue
        step = replace(item, needs=tuple(ends.get(need, need) for need in item.needs))
        if step.impact == "disrupt" and situation.spec.rollout.drain:
            yield from _drained(step, server, lifted, ends)
        else:
            yield step
            if server is not None and server.left_cordoned(step.host):
                yield _lifting(step, server, ends)


def _drained(step: ApplyAgent, server: _Server | None, lifted: tuple[str, ...], ends: dict[str, str]) -> Iterator[Item]:
    name = step.host
    if server is None:
        yield _no_server(name)
        return
    node = server.nodes.get(name) if server.nodes is not None else None
    if server.nodes is not None and node is None:
        yield step
        return
    if node is not None and not node.ready:
        yield _note(name, "it is restarted without a drain: its node is not Ready, so its pods cannot be evicted")
        yield step
        if node.own_cordon:
            yield _lifting(step, server, ends)
        return
    drain = DrainNode(
        id=f"{name}/drain-node",
        host=server.name,
        node=name,
        reason="its pods are moved to other nodes before K3s is restarted",
        impact="disrupt",
        needs=tuple(dict.fromkeys((*step.needs, *server.needs, *lifted))),
    )
    yield drain
    yield replace(step, needs=(*step.needs, drain.id))
    if node is not None and not node.schedulable and not node.own_cordon:
        yield _note(name, f"it was cordoned manually; it is drained and stays cordoned: pk3s uncordon {name}")
    else:
        yield _lifting(step, server, ends)


def _note(node: str, text: str) -> Note:
    return Note(f"{node}: {text}", (node,))


def _lifting(step: ApplyAgent, server: _Server, ends: dict[str, str]) -> UncordonNode:
    found = _uncordon(server, step.host, "it takes new pods again", (step.id,))
    ends[step.id] = found.id
    return found


def _left_cordons(situation: Situation, items: Sequence[Item], server: _Server) -> Iterator[Item]:
    """Yield the ends of cordons that an earlier apply has left on agents of which nothing else is planned.

    One that is not Ready, or not reached, is left so: its pods would go there.
    """
    seen_to = {item.host for item in items if isinstance(item, ApplyAgent)}
    for host in situation.inventory.agents:
        if host.name in seen_to or not server.left_cordoned(host.name):
            continue
        if host.name in situation.facts and server.nodes is not None and server.nodes[host.name].ready:
            yield _uncordon(server, host.name, "an earlier apply left it cordoned; it takes new pods again", ())
        else:
            yield _note(
                host.name, "an earlier apply left it cordoned; it stays cordoned until it can be reached and is Ready"
            )


def _server(situation: Situation, draft: Draft) -> _Server | None:
    """Return a server that answers; else the founder, where it is to be mended before its agents' turn."""
    asked = live_server(situation)
    name = asked[0].name if asked is not None else situation.inventory.founder.name
    needs = tuple(step.id for step in draft.steps if isinstance(step, ApplyServer) and step.host == name)
    if asked is not None:
        gone = {step.node for step in draft.steps if isinstance(step, RemoveNode | ForgetNode)}
        return _Server(name, needs, {node.name: node for node in asked[1].nodes if node.name not in gone})
    return _Server(name, needs, None) if needs else None


def _uncordon(server: _Server, node: str, reason: str, needs: tuple[str, ...]) -> UncordonNode:
    return UncordonNode(
        id=f"{node}/uncordon-node",
        host=server.name,
        node=node,
        reason=reason,
        impact="change",
        needs=tuple(dict.fromkeys((*needs, *server.needs))),
    )


def _no_server(host: str) -> Refusal:
    return Refusal(
        host,
        refused(
            "rollout.no-server",
            "it would be restarted without the drain that spec.rollout requires",
            "no server reports the state of the cluster, and this plan does not start one",
            "bring a server back (pk3s status shows them), or set spec.rollout.drain to false for this change",
        ),
    )
