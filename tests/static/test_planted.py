"""The planter works, and a sample of the planted bugs is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from planted.run import HERE, Bug, StaleBug, load_bugs, planted, try_all

_SAMPLE = "6"
_SECONDS = "75"


def test_each_bug_has_its_place() -> None:
    tree = HERE.parents[1]
    for bug in load_bugs(HERE):
        path, text = planted(bug, tree)
        assert text != path.read_text(encoding="utf-8"), bug.name


def test_a_place_that_is_gone_or_there_twice_is_said() -> None:
    tree = HERE.parents[1]
    place = "productive_k3s.k3s.header:schema_of"
    for replace, why in (("nothing like it", "0 times"), ("digits", "[2-9] times")):
        with pytest.raises(StaleBug, match=why):
            planted(Bug("b", place, "", replace, "x", ("t",)), tree)
    with pytest.raises(StaleBug, match="there is no schema_off"):
        planted(Bug("b", f"{place}f", "", "x", "y", ("t",)), tree)


def test_a_bug_that_nothing_finds_survives_and_one_that_is_no_program_is_broken() -> None:
    place, tests = "productive_k3s.k3s.header:schema_of", ("tests/static/contract_program/test_render.py",)
    bugs = (
        Bug("a word of the docstring", place, "", "0 if this program", "1 if this program", tests),
        Bug("a name that nobody has", place, "", "return int(digits)", "return integer(digits)", tests),
        Bug("a wrong answer", place, "", "else 0", "else 7", tests),
    )
    found = {outcome.bug.name: outcome.state for outcome in try_all(bugs, jobs=1, seconds=300)}
    assert list(found.values()) == ["survived", "broken", "killed"]


def test_a_sample_is_found() -> None:
    seed = os.environ.get("PLANTED_SEED")
    command = [sys.executable, str(HERE / "run.py"), "--sample", _SAMPLE, "--seconds", _SECONDS, "--jobs", "1"]
    done = subprocess.run(
        [*command, *(["--seed", seed] if seed else [])],
        cwd=Path(HERE).parents[1],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
