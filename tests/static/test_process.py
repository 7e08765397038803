"""The one door to programs on this computer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from productive_k3s.contract.secret import Secret
from productive_k3s_infra import _process
from productive_k3s_infra.errors import ProcessFailed


def test_a_secret_reaches_standard_input_and_nothing_else() -> None:
    secret = Secret("hunter2")
    assert _process.run(("cat",), input=secret).stdout == "hunter2"
    with pytest.raises(TypeError):
        _process.run(("echo", secret))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _process.run(("true",), env={"TOKEN": secret})  # type: ignore[dict-item]


def test_a_failure_carries_what_the_program_said() -> None:
    with pytest.raises(ProcessFailed) as caught:
        _process.run(("sh", "-c", "echo fine; echo broken >&2; exit 3"))
    assert caught.value.code == "process.failed"
    assert "exited with code 3" in caught.value.what
    assert caught.value.evidence == "broken"


def test_a_missing_program_is_told_from_a_failing_one() -> None:
    with pytest.raises(ProcessFailed) as caught:
        _process.run(("no-such-program-here",))
    assert caught.value.code == "process.missing"
    assert "no-such-program-here" in caught.value.what


def test_a_program_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_process, "_LAST_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(ProcessFailed) as caught:
        _process.run(("sh", "-c", "echo working; exec sleep 60"), timeout_seconds=0.3)
    assert caught.value.code == "process.timeout"
    assert caught.value.evidence == "working"
    with pytest.raises(ProcessFailed) as caught:
        _process.run_with_lines(("sh", "-c", "trap '' INT; sleep 30; true"), lambda _line: None, timeout_seconds=0.3)
    assert caught.value.code == "process.timeout"
    assert time.monotonic() - began < 20


def test_a_long_program_over_its_time_may_end_in_order() -> None:
    """OpenTofu writes down what it made, and frees the lock of its state."""
    lines: list[str] = []
    script = "trap 'echo saved; exit 1' INT; echo begun; while :; do sleep 0.05; done"
    # A shell does not trap what was ignored when it began, as SIGINT is for a job in the background.
    words = ("env", "--default-signal=INT", "sh", "-c", script)
    with pytest.raises(ProcessFailed) as caught:
        _process.run_with_lines(words, lines.append, timeout_seconds=0.5)
    assert caught.value.code == "process.timeout"
    assert lines == ["begun", "saved"]


def test_standard_input_is_never_the_terminal() -> None:
    assert _process.run(("cat",)).stdout == ""


def test_lines_come_while_the_program_runs(tmp_path: Path) -> None:
    """The program waits for the file that its first line makes us write, so buffering would make it hang."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "one":
            gate.write_text("go")

    script = f'echo one; read x < "{gate}"; echo two >&2'
    _process.run_with_lines(("sh", "-c", script), on_line, timeout_seconds=20)
    assert lines == ["one", "two"]


def test_a_detached_program_is_nobodys_child(tmp_path: Path) -> None:
    log = tmp_path / "log"
    _process.start_detached(("sh", "-c", "read x < /proc/self/stat; echo $x"), log)
    deadline = time.monotonic() + 10
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < deadline, "it printed nothing"
        time.sleep(0.01)
    fields = log.read_text().rpartition(")")[2].split()
    parent, group, session = (int(field) for field in fields[1:4])
    assert parent != os.getpid()
    assert session != os.getsid(0)
    assert group == session
    assert log.stat().st_mode & 0o077 == 0
