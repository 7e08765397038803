"""`remove`: K3s goes from this host, and the host is as it was before."""

from __future__ import annotations

from typing import List, Optional

from productive_k3s.contract.change import Change, in_words
from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.effects.lock import take_lock
from productive_k3s.effects.removal import plan_removal, remove
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts


async def run(
    host: Host, *, yes: bool = False, force: bool = False, plan: bool = False, gather: GatherFacts = gather_facts
) -> Result:
    """Remove K3s. A server's removal destroys its cluster's data, so that wants `yes`; with living members, `force`."""
    if not plan:
        failure = await take_lock(host)
        if failure is not None:
            return Result("locked", failures=(failure,))
    facts = await gather(host)
    changes = plan_removal(facts)
    if not changes:
        return Result("unchanged", notes=("there is nothing of K3s on this host",), facts=facts)
    veto = _veto(facts, yes=yes, force=force)
    if veto is not None and not plan:
        return Result("refused", failures=(veto,), changes=changes, facts=facts)
    if plan:
        return Result("planned", changes=changes, facts=facts)
    made: List[Change] = []
    for change in changes:
        try:
            host.require_going_on()
            host.emit("change-started", in_words(change), change.id)
            await remove(host, change)
        except ContractError as error:
            outcome = error.failure.exit_code == 130
            return Result(
                "interrupted" if outcome else "failed", (error.failure,), tuple(made), facts=await gather(host)
            )
        made.append(change)
        host.emit("change-done", change.id, change.id)
    notes = ("the Node is still in the cluster: productive-k3s node delete NAME, on a server",)
    return Result(
        "done", changes=tuple(made), notes=notes if facts.k3s.role == "agent" else (), facts=await gather(host)
    )


def _veto(facts: Facts, *, yes: bool, force: bool) -> Optional[Failure]:
    """PURE: say why a server must not simply go."""
    if facts.k3s.role != "server" or facts.k3s.datastore is None or force:
        return None
    nodes = facts.cluster.nodes if facts.cluster is not None else ()
    others = [node.name for node in nodes if node.name != facts.k3s.node_name]
    if others:
        return Failure(
            code="cluster.has-members",
            what="other nodes belong to this server's cluster",
            evidence=", ".join(others),
            remedy="remove them first (the agents before the server), or say --force",
            exit_code=4,
        )
    if yes:
        return None
    return Failure(
        code="cluster.would-be-lost",
        what="this removes the cluster's only server, and all that is in its datastore",
        evidence=f"{facts.k3s.datastore} datastore of CA {facts.k3s.ca_hash[:12]}...",
        remedy="say --yes (--plan shows what goes)",
        exit_code=4,
    )
