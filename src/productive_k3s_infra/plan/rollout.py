"""PURE: in which order a change that interrupts agents reaches them: first one, the canary, then batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from productive_k3s.contract.request import Watch
from productive_k3s.plan.batches import BatchSize, in_batches
from productive_k3s_infra.plan.rule import Item
from productive_k3s_infra.plan.step import ApplyAgent

# A K3s that dies of a setting mostly does so at once; what takes longer (systemd starts it again after 5 s) is seen.
CANARY_SECONDS = 30.0


@dataclass(frozen=True)
class Turn:
    """When a change that interrupts an agent reaches it, and what is watched there before the next turn begins.

    `needs` are ids of the steps of the turn before.
    """

    needs: tuple[str, ...]
    watch: Watch | None

    def after(self, item: Item) -> Item:
        """Return the item in its turn: an interrupting step waits for all of the turn before."""
        if isinstance(item, ApplyAgent) and self.needs:
            return replace(item, needs=(*item.needs, *self.needs))
        return item


def turns_of(items: Sequence[Item], size: BatchSize) -> Mapping[str, Turn]:
    """Return the turn of each agent that is interrupted, by its host's name.

    A turn has ended when its nodes are Ready, K3s has stayed up on the first one for some time, and the pods that were
    Ready there are so again. A node that does not come so far leaves every later turn undone, on what it runs with.
    Agents that are new, or change without a restart, wait for nobody. A single one is the whole change: nothing waits
    for it, so it is not watched any longer than until it is Ready.
    """
    restarting = [item for item in items if isinstance(item, ApplyAgent) and item.impact == "disrupt"]
    found: dict[str, Turn] = {}
    before: tuple[str, ...] = ()
    for number, batch in enumerate(in_batches(restarting, size)):
        watch = Watch(CANARY_SECONDS if number == 0 else 0.0) if len(restarting) > 1 else None
        found.update((step.host, Turn(before, watch)) for step in batch)
        before = tuple(step.id for step in batch)
    return found
