"""`uninstall`: K3s goes from this host, and the host is as it was before."""

from __future__ import annotations

from typing import Optional

from productive_k3s.contract.events import Result
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.doors.host import Host
from productive_k3s.effects.lock import take_lock
from productive_k3s.effects.sequence import make_changes
from productive_k3s.effects.uninstall import undo
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.plan import uninstall


async def run(
    host: Host,
    *,
    cluster: Optional[str] = None,
    yes: bool = False,
    force: bool = False,
    plan: bool = False,
    gather: GatherFacts = gather_facts,
) -> Result:
    """Take K3s off the host if it belongs to the cluster that is meant; see plan.uninstall for what may refuse it.

    With `plan` nothing is written. It is refused as a run would be, where it says which cluster is meant.
    """
    if not plan:
        failure = await take_lock(host)
        if failure is not None:
            return Result("locked", failures=(failure,))
    facts = await gather(host)
    changes = uninstall.changes(facts)
    if not changes:
        return Result("unchanged", notes=("there are no traces of K3s on this host",), facts=facts)
    dies = tuple(f"this also deletes: {what}" for what in uninstall.what_dies(facts))
    refused = uninstall.vetoes(facts, cluster, yes=yes, force=force)
    if any(failure.exit_code == ExitCode.BAD_INPUT for failure in refused):
        return Result("failed", failures=refused)
    if refused and (not plan or (cluster is not None and any(item.code in _OF_CLUSTER for item in refused))):
        return Result("refused", failures=refused, changes=changes, notes=dies, facts=facts)
    if plan:
        would = tuple(f"a run like this would be refused: {item.what} [{item.code}]" for item in refused)
        return Result("planned", changes=changes, notes=(*dies, *would), facts=facts)
    made = await make_changes(host, changes, lambda change: undo(host, change), gather)
    notes = ("the Node is still in the cluster: productive-k3s node remove NAME, on a server",)
    is_agent = facts.k3s.role == "agent" and made.outcome == "done"
    return Result(made.outcome, made.failures, made.changes, notes if is_agent else (), made.facts)


_OF_CLUSTER = ("k3s.ca-mismatch", "cluster.known", "cluster.unknown")
