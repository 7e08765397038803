"""PURE: rules for machines that somebody wants to be made anew: their nodes leave, then they go, then they come."""

from __future__ import annotations

from collections.abc import Iterator

from productive_k3s.contract.failure import Failure
from productive_k3s_infra.plan.model import Refusal
from productive_k3s_infra.plan.removal import removal_of
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Draft, Item, Note

_BRING_BACK = "bring a server back; a node can leave only a cluster that answers"
_REASON = "the machine is created again"


def refused_replacements(situation: Situation, _: Draft) -> Iterator[Item]:
    """Names that cannot be replaced, with the reason."""
    yield from _refusals(situation)


def replaced_machines(situation: Situation, draft: Draft) -> Iterator[Item]:
    """The nodes leave and their machines go, before anything else."""
    for name in replaced(situation):
        yield from (item for item in removal_of(situation, draft, name, _REASON) if not isinstance(item, Note))


def replaced(situation: Situation) -> tuple[str, ...]:
    """Return the names of the machines that exist and are made anew: none where one of those asked for is refused."""
    return _asked(situation) if not any(_refusals(situation)) else ()


def _asked(situation: Situation) -> tuple[str, ...]:
    machines = situation.survey.machines
    return tuple(one.name for one in machines if one.name in situation.replacing and one.state != "missing")


def _refusals(situation: Situation) -> Iterator[Refusal]:
    impossible = [refusal for name in situation.replacing for refusal in _not_replaceable(situation, name)]
    yield from impossible
    if impossible:
        return
    for name in _asked(situation):
        for item in removal_of(situation, Draft(), name, _REASON):
            if isinstance(item, Refusal):
                yield item
            elif isinstance(item, Note):
                # Left alone is right for a machine that nobody named; here somebody did.
                what = "the cluster does not answer"
                yield Refusal(name, Failure("machine.no-replace", what, item.text, _BRING_BACK, 4))


def _not_replaceable(situation: Situation, name: str) -> Iterator[Refusal]:
    """Say why a machine cannot be replaced: the name is none, or the datastore lies there."""
    inventory, owned = situation.inventory, situation.survey.owns_machines
    known = [host.name for host in inventory.hosts]
    if name not in known or not owned:
        what = "there is no such node in the file" if owned else "pk3s does not create these hosts"
        remedy = f"the file has {', '.join(known)}" if owned else "replace the host yourself"
        yield Refusal(name, Failure("machine.no-replace", f"{what}, so it cannot be replaced", "", remedy, 2))
    elif [server.name for server in inventory.servers] == [name]:
        remedy = (
            "write its old size into the file; or run pk3s destroy and pk3s "
            "apply, which loses everything in the cluster"
        )
        what = "it is the only server: the cluster's datastore is on its disk"
        yield Refusal(name, Failure("machine.only-server", what, "", remedy, 4))
