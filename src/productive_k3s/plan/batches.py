"""PURE: in which order a change reaches many nodes: first one, the canary, then the others in batches."""

from __future__ import annotations

import re
from typing import List, Sequence, Tuple, TypeVar, Union

T = TypeVar("T")

# A number of nodes, or a share of them ("25%").
BatchSize = Union[int, str]

DEFAULT_BATCH: BatchSize = "25%"
SHARE = re.compile(r"([1-9][0-9]?|100)%")


def is_batch_size(value: object) -> bool:
    """Whether it is a number of nodes from 1 on, or a whole share of them from 1% to 100%."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value >= 1
    return isinstance(value, str) and SHARE.fullmatch(value) is not None


def nodes_at_once(size: BatchSize, nodes: int) -> int:
    """Return how many of so many nodes a batch holds: at least one, and never more than was asked for.

    A share is of all nodes that the change concerns, rounded down: of 7 nodes 25% is one. Raises ValueError for what is
    no size.
    """
    if not is_batch_size(size):
        raise ValueError(f"no size of a batch: {size!r}")
    if isinstance(size, int):
        return max(1, min(size, nodes))
    return max(1, nodes * int(size[:-1]) // 100)


def in_batches(nodes: Sequence[T], size: BatchSize = DEFAULT_BATCH) -> Tuple[Tuple[T, ...], ...]:
    """Return the nodes in the order given, cut into batches: the first node alone, then so many at once.

    The next batch begins when the one before it is well again, so a change that no node survives costs one node.
    """
    if not nodes:
        return ()
    at_once = nodes_at_once(size, len(nodes))
    found: List[Tuple[T, ...]] = [(nodes[0],)]
    found.extend(tuple(nodes[first : first + at_once]) for first in range(1, len(nodes), at_once))
    return tuple(found)
