"""PURE: in which order a change that interrupts agents reaches them: first one, the canary, then batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from productive_k3s.plan.batches import BatchSize, in_batches
from productive_k3s_infra.plan.rule import Item
from productive_k3s_infra.plan.step import ApplyAgent


def in_turn(items: Sequence[Item], size: BatchSize) -> Iterator[Item]:
    """Yield the items of agents; each step that interrupts one waits for all of the batch before its own.

    A step has ended when its node is Ready again. One that fails leaves every later batch undone, on the flags that it
    runs with. Agents that are new, or change without a restart, wait for nobody.
    """
    restarting = [item.id for item in items if isinstance(item, ApplyAgent) and item.impact == "disrupt"]
    waits: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for batch in in_batches(restarting, size):
        waits.update(dict.fromkeys(batch, before))
        before = batch
    for item in items:
        if isinstance(item, ApplyAgent) and item.id in waits:
            yield replace(item, needs=(*item.needs, *waits[item.id]))
        else:
            yield item
