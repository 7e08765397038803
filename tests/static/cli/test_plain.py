"""Where nobody watches: pipes, logs, an encoding without the letters. The real command, on a cluster in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from static.cli.test_asking import ASKING, environment
from static.operations.world import write_cluster_file

COUNTS = "3 steps for edge: + 2 create, ~ 1 change"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_cluster_file(tmp_path, "cluster.yaml", "edge")


def run(file: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it without a terminal anywhere."""
    return subprocess.run(  # noqa: PLW1510 - the exit code is what is looked at
        (sys.executable, str(ASKING), "nothing", *words),
        cwd=file.parent,
        env={**environment(), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_plan_in_a_pipe_is_text(file: Path) -> None:
    done = run(file, "plan", TERM="xterm-256color")
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0], lines[-1]) == (0, COUNTS, f"{COUNTS}.")
    assert "\x1b" not in done.stdout + done.stderr


def test_a_plan_for_a_merge_request(file: Path) -> None:
    done = run(file, "plan", "-o", "markdown")
    assert done.stdout.startswith(f"**{COUNTS}**\n")
    assert "<summary><code>+</code> server-1/apply-server: " in done.stdout
    assert "+node-name: server-1" in done.stdout.splitlines()


@pytest.mark.parametrize(("words", "code"), [(("--yes",), 0), ((), 4)])
def test_what_is_agreed_to_is_shown_where_nobody_is_asked(file: Path, words: tuple[str, ...], code: int) -> None:
    """Also where nobody agrees: the log then says to what."""
    done = run(file, "apply", *words)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines().count(COUNTS) == 1
    assert ("  done server-1         server  " in done.stderr) is (code == 0)


def test_json_stands_alone(file: Path) -> None:
    done = run(file, "apply", "--yes", "-o", "json", "--progress", "none")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("{")


def test_letters_that_the_output_has_not_stop_nothing(file: Path) -> None:
    done = run(file.rename(file.with_name("größe.yaml")), "plan", "-f", "größe.yaml", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "note: gr\\xf6\\xdfe.yaml:" in done.stdout


def test_looks_of_no_time_are_no_lines(file: Path) -> None:
    """What cron mails is what there is to read."""
    assert run(file, "plan").stderr == ""
