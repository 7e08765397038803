"""Questions at a real terminal: answered, or ended at once by Ctrl-C and `kill`, with the terminal as it was before."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from productive_k3s_infra.workspace.record import read_record
from static.command_line import environment
from static.operations.world import write_cluster_file

ASKING = Path(__file__).with_name("asking.py")
SECONDS = 60.0
QUESTIONS = {
    "plan": (("nothing", "apply"), "Apply this plan? [y/N]"),
    "destroy": (("nothing", "destroy"), "Type the cluster's name (edge) to continue:"),
    "host key": (("host-key", "plan"), "Is this the host's key?"),
    "sudo": (("sudo", "plan"), "sudo password on server-1"),
}


class Person:
    """A process and the terminal in front of it."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int, its: int) -> None:
        self.process = process
        self.terminal = terminal
        self.its = its
        self.seen = ""

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + SECONDS
        while words not in self.seen:
            assert self.read(deadline - time.monotonic()), f"{words!r} was never shown: {self.seen}"

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def end(self) -> int:
        """Wait until it ends, and return its exit code; a terminal that nobody reads would hold it up."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.seen}"
            self.read(0.05)
        self.read(0.0)
        return self.process.returncode

    def read(self, seconds: float) -> bool:
        ready, _, _ = select.select((self.terminal,), (), (), max(0.0, seconds))
        if ready:
            self.seen += os.read(self.terminal, 1 << 16).decode(errors="replace")
        return bool(ready)

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.its)


@contextmanager
def in_front(folder: Path, *arguments: str, deaf: bool = False, term: str = "xterm") -> Iterator[Person]:
    """Start it with a terminal of its own; `deaf` to SIGHUP, as nohup starts programs."""
    mine, its = pty.openpty()
    command = (sys.executable, str(ASKING), *arguments)
    process = subprocess.Popen(
        ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *command) if deaf else command,
        cwd=folder,
        env={**environment(), "TERM": term},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    person = Person(process, mine, its)
    try:
        yield person
    finally:
        process.kill()
        process.wait()
        for descriptor in {person.terminal, person.its} - {-1}:
            os.close(descriptor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_cluster_file(tmp_path, "cluster.yaml", "edge")
    return tmp_path


def ctrl_c(person: Person) -> None:
    person.type("\x03")


def kill(person: Person) -> None:
    person.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("stop", [ctrl_c, kill])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_ends_at_once(folder: Path, question: str, stop: Callable[[Person], None]) -> None:
    arguments, words = QUESTIONS[question]
    with in_front(folder, *arguments) as person:
        before = person.settings()
        person.wait_for(words)
        stop(person)
        assert person.end() == 130
        assert "stopped [run.interrupted]" in person.seen
        assert "Traceback" not in person.seen
        assert person.settings() == before
    assert not (folder / "cluster.lock").exists()


@pytest.mark.parametrize(
    ("question", "answer", "code"),
    [
        ("plan", "y\n", 0),
        ("plan", "\n", 4),
        ("plan", "\x04", 4),  # end of input
        ("destroy", "edge\n", 0),
        ("destroy", "yes\n", 4),
        ("host key", "yes\n", 0),
        ("host key", "no\n", 5),
        ("sudo", "open sesame\n", 0),
        ("sudo", "let me in\n", 5),
    ],
)
def test_an_answer_counts(folder: Path, question: str, answer: str, code: int) -> None:
    arguments, words = QUESTIONS[question]
    with in_front(folder, *arguments) as person:
        person.wait_for(words)
        person.type(answer)
        assert person.end() == code, person.seen
        if question == "sudo":
            assert "sesame" not in person.seen
            assert "let me in" not in person.seen


def test_the_remedy_of_the_lock_is_true_at_a_question(folder: Path) -> None:
    with in_front(folder, "nothing", "apply") as person:
        person.wait_for("Apply this plan?")
        second = subprocess.run(
            (sys.executable, str(ASKING), "nothing", "apply"),
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert second.returncode == 7
        found = re.search(r"stop it: kill (\d+)", second.stderr)
        assert found, second.stderr
        os.kill(int(found[1]), signal.SIGTERM)
        assert person.end() == 130


def test_a_second_signal_ends_what_the_first_one_left(folder: Path) -> None:
    (folder / "stubborn").touch()
    with in_front(folder, "slow", "apply", "--yes") as person:
        person.wait_for("it takes its time")
        ctrl_c(person)
        person.wait_for("cancelled once")
        ctrl_c(person)
        assert person.end() == 130
        assert "stopped [run.interrupted]" in person.seen
        assert "Traceback" not in person.seen


@pytest.mark.parametrize("term", ["xterm", "dumb"])
@pytest.mark.parametrize("stop", [ctrl_c, kill])
@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_look_that_is_ended_is_no_host_s_failure(
    folder: Path, verb: str, stop: Callable[[Person], None], term: str
) -> None:
    """With a board and in a log: one error says that the run was stopped, and no line blames the host."""
    with in_front(folder, "looking", verb, term=term) as person:
        person.wait_for("server-1 was asked for facts")
        stop(person)
        assert person.end() == 130
        assert "stopped [run.interrupted]" in person.seen
        assert "failed" not in person.seen


def test_a_terminal_that_goes_away_does_not_break_a_run_off(folder: Path) -> None:
    with in_front(folder, "slow", "apply", "--yes", deaf=True) as person:
        person.wait_for("it takes its time")
        for descriptor in (person.its, person.terminal):
            os.close(descriptor)
        person.its = person.terminal = -1
        (folder / "go").touch()
        assert person.process.wait(SECONDS) == 0
    assert read_record(folder, "edge") is not None
