"""How many nodes a change reaches at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productive_k3s.plan.batches import in_batches, is_batch_size, nodes_at_once

SIZES = st.one_of(st.integers(1, 40), st.integers(1, 100).map("{}%".format))


@pytest.mark.parametrize(
    ("size", "nodes", "at_once"),
    [(1, 12, 1), (3, 12, 3), (50, 12, 12), ("25%", 12, 3), ("25%", 7, 1), ("25%", 3, 1), ("99%", 7, 6), ("100%", 7, 7)],
)
def test_sizes(size: int | str, nodes: int, at_once: int) -> None:
    assert nodes_at_once(size, nodes) == at_once


@pytest.mark.parametrize("size", [0, -1, True, 2.5, None, "", "25", "0%", "101%", "2.5%", " 25%", "25 %", "25%\n"])
def test_what_is_no_size(size: object) -> None:
    assert not is_batch_size(size)
    with pytest.raises(ValueError, match="no size"):
        nodes_at_once(size, 5)  # type: ignore[arg-type]


def test_the_first_goes_alone() -> None:
    assert in_batches("abcdefgh", "25%") == (("a",), ("b", "c"), ("d", "e"), ("f", "g"), ("h",))
    assert in_batches("abc", 5) == (("a",), ("b", "c"))
    assert in_batches("a") == (("a",),)
    assert in_batches("") == ()


@given(st.lists(st.integers(), max_size=60, unique=True), SIZES)
def test_each_node_once_in_order_and_never_more_than_asked(nodes: list[int], size: int | str) -> None:
    batches = in_batches(nodes, size)
    assert [node for batch in batches for node in batch] == nodes
    assert all(batches)
    share = size if isinstance(size, int) else max(1, len(nodes) * int(size[:-1]) // 100)
    assert all(len(batch) <= share for batch in batches)
    assert not nodes or len(batches[0]) == 1
