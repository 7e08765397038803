"""Signals and readers that go away: the program always ends with its one result, and never in the middle of a word."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, str(Path(__file__).with_name("signalled.py")))
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])}
SECONDS = 60


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        (*PROGRAM, "facts", "--json"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "hello"
        assert json.loads(process.stdout.readline())["message"] == "begun"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM])
def test_the_first_signal_lets_the_change_be_finished(
    wire: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    wire.send_signal(number)
    (tmp_path / "go").touch()
    said, errors = wire.communicate(timeout=SECONDS)
    assert (wire.returncode, errors) == (0, "")
    assert [json.loads(line)["type"] for line in said.splitlines()] == ["event", "result"]
    assert (tmp_path / "finished").read_text()


def test_the_second_one_ends_it_with_a_result(wire: subprocess.Popen[str], tmp_path: Path) -> None:
    # Two of a kind may be given as one: they wait for each other in the kernel.
    for number in (signal.SIGTERM, signal.SIGINT):
        wire.send_signal(number)
    said, errors = wire.communicate(timeout=SECONDS)
    assert (wire.returncode, errors) == (130, "")
    (result,) = [json.loads(line) for line in said.splitlines()]
    assert (result["type"], result["outcome"]) == ("result", "interrupted")
    assert result["failures"][0]["code"] == "run.broken-off"
    assert not (tmp_path / "finished").exists()


@pytest.mark.parametrize("deaf", [True, False])
def test_a_terminal_that_goes_away_breaks_no_change_off(tmp_path: Path, *, deaf: bool) -> None:
    """Whether its end is heard (SIGHUP) or not (nohup): the change is finished, then it stops as nobody reads."""
    mine, its = pty.openpty()
    command = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *PROGRAM, "facts") if deaf else (*PROGRAM, "facts")
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=its,
        stdout=its,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert b"begun" in os.read(mine, 1000)
        os.close(its)
        os.close(mine)
        process.send_signal(signal.SIGHUP)
        (tmp_path / "go").touch()
        _, errors = process.communicate(timeout=SECONDS)
        assert (process.returncode, errors) == (0, "")
        assert (tmp_path / "finished").read_text() == ("the reader of the output is gone" if deaf else "SIGHUP")
    finally:
        process.kill()
        process.wait()
