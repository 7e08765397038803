"""`status --check`, `status --watch`, `logs` and `ssh` as a person types them, at a host that refuses connections."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sshd_bed import free_port
from static.command_line import command, environment, pk3s

_SECONDS = 60.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A cluster of one host, where nobody listens."""
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "apiVersion: productive-k3s/v1alpha1\nkind: Cluster\nmetadata: {name: edge}\n"
        "spec:\n  provider: {kind: onprem}\n  k3s: {version: v1.34.4+k3s1}\n"
        f"  ssh: {{user: ops, port: {free_port()}}}\n"
        "  nodes: [{name: server-1, role: server, address: 127.0.0.1}]\n"
    )
    return path


def test_a_check_is_one_line_and_exit_code_six(file: Path) -> None:
    done = pk3s("status", "--check", "-f", str(file))
    assert (done.returncode, done.stdout) == (6, "edge: NOT as declared: not reached: server-1\n"), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("words", [("status", "--watch", "--check"), ("status", "-w", "-o", "json")])
def test_what_goes_on_is_no_check_and_no_document(file: Path, words: tuple[str, ...]) -> None:
    done = pk3s(*words, "-f", str(file))
    assert done.returncode == 2
    assert "--watch" in done.stderr


def test_following_logs_is_no_document(file: Path) -> None:
    done = pk3s("logs", "server-1", "--follow", "-o", "json", "-f", str(file))
    assert done.returncode == 2
    assert "--follow" in done.stderr


@pytest.mark.parametrize("verb", ["logs", "ssh"])
def test_a_node_that_is_none_is_told_with_those_that_are(file: Path, verb: str) -> None:
    done = pk3s(verb, "agent-7", "-f", str(file))
    assert done.returncode == 2
    assert "agent-7: no node of the file has that name [node.unknown]" in done.stderr
    assert "nodes: server-1" in done.stderr


def test_ssh_ends_as_the_person_s_own_does(file: Path) -> None:
    done = pk3s("ssh", "server-1", "-f", str(file), "--", "true")
    assert done.returncode == 255
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_watching_redraws_and_ends_with_ctrl_c(file: Path, term: str) -> None:
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        command("status", "--watch", "--interval", "1", "-f", str(file)),
        env={**environment(), "TERM": term},
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        shown = _until(person, b"0 of 1 node is", times=2 if term == "xterm" else 1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=_SECONDS)
    finally:
        process.kill()
        process.wait(_SECONDS)
        os.close(person)
    assert process.returncode == 130
    assert errors == b"", "that is how it ends"
    assert (b"\x1b[H\x1b[2J" in shown) == (term == "xterm")


def _until(descriptor: int, word: bytes, *, times: int) -> bytes:
    shown = b""
    end = time.monotonic() + _SECONDS
    while shown.count(word) < times:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, shown
        shown += os.read(descriptor, 4096)
    return shown
