"""Many names in few words: nothing is lost, as a shell that unfolds them shows."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from productive_k3s_infra.plan.folding import folded

HEADS = st.sampled_from(["agent-", "server-", "n", "rack-2-node"])


@st.composite
def names(draw: st.DrawFn) -> list[str]:
    """Some runs of numbers, some with leading zeros, some gaps, some names without a number."""
    found = ["gate"] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        head, first, count = draw(HEADS), draw(st.integers(0, 30)), draw(st.integers(1, 8))
        width = draw(st.sampled_from([0, 2, 3]))
        found += [f"{head}{first + number:0{width}}" for number in range(count)]
    return found


def unfolded(text: str) -> list[str]:
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run([bash, "-c", f"echo {text.replace(',', '')}"], check=True, capture_output=True, text=True)
    return done.stdout.split()


@settings(max_examples=100, deadline=None)
@given(names())
def test_a_shell_unfolds_what_was_folded(wanted: list[str]) -> None:
    assert unfolded(folded(wanted)) == wanted


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (["agent-1", "agent-2", "agent-3"], "agent-1, agent-2, agent-3"),
        (["server-1", *(f"agent-{n}" for n in range(1, 12))], "server-1, agent-{1..11}"),
        (["agent-1", "agent-2", "agent-3", "agent-5", "agent-6"], "agent-1, agent-2, agent-3, agent-5, agent-6"),
        ([f"n{n:02}" for n in range(8, 12)], "n{08..11}"),
        (["n8", "n9", "n010", "n011", "n012"], "n8, n9, n010, n011, n012"),
        ([], ""),
    ],
)
def test_only_neighbours_are_folded_and_few_stay_as_they_are(wanted: list[str], text: str) -> None:
    assert folded(wanted) == text
