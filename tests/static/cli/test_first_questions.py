"""`pk3s init` on a real terminal, without options: it asks, shows the file, and writes what `pk3s plan` accepts."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_bed import REPOSITORY
from pk3s_bed import Terminal, in_front_of
from productive_k3s_infra.cluster_file.load import load_cluster_file

VERSION = "v1.34.4+k3s1"
# Whoever runs the tests in the background may ignore Ctrl-C, and all that is started would inherit that.
INIT = ("env", "--default-signal=INT", sys.executable, "-m", "productive_k3s_infra", "init")
ENVIRONMENT = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(REPOSITORY / "src")}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with in_front_of(INIT, tmp_path, ENVIRONMENT) as terminal:
        yield terminal


def answer(terminal: Terminal, *answers: tuple[str, str]) -> None:
    """Wait for each question, in this order, and type its answer."""
    for question, typed in answers:
        terminal.until(question)
        terminal.shown = terminal.shown.partition(question)[2]
        terminal.type(typed)


def test_hosts_that_exist(terminal: Terminal, tmp_path: Path) -> None:
    answer(
        terminal,
        ("Provider", "onprem"),
        ("Server", "ops@10.0.0.11:2222"),
        ("Agents", "10.0.0.21 agent-2.example"),
        ("name [edge]", "site"),
        ("SSH user", "admin"),
        ("SSH key", ""),
        ("Jump host", "gate@bastion.example:9"),
        ("K3s version", VERSION),
        ("Write this", ""),
        ("Connect to these hosts", ""),
    )
    assert terminal.end() == 0
    assert "next: pk3s plan -f cluster.yaml" in terminal.shown
    spec = load_cluster_file(tmp_path / "cluster.yaml", {})
    jump = spec.ssh.jump
    assert jump is not None
    assert (spec.name, spec.k3s.version, spec.ssh.user, jump.address, jump.port) == (
        "site",
        VERSION,
        "admin",
        "bastion.example",
        9,
    )
    assert [(node.role, node.address, node.ssh.user, node.ssh.port) for node in spec.nodes] == [
        ("server", "10.0.0.11", "ops", 2222),
        ("agent", "10.0.0.21", None, None),
        ("agent", "agent-2.example", None, None),
    ]


def test_hosts_are_tried_if_that_is_wanted(terminal: Terminal, tmp_path: Path) -> None:
    """Nothing listens on that port: the plan says so, and the file stays."""
    answer(
        terminal,
        ("Provider", "onprem"),
        ("Server", "root@127.0.0.1:1"),
        ("Agents", ""),
        ("name", ""),
        ("SSH user", ""),
        ("SSH key", ""),
        ("Jump host", ""),
        ("K3s version", VERSION),
        ("Write this", ""),
        ("Connect to these hosts", "y"),
    )
    assert terminal.end() == 4, terminal.shown
    assert "server-1: nothing accepts SSH connections there" in terminal.shown
    assert (tmp_path / "cluster.yaml").exists()


def test_an_answer_that_no_file_can_hold_is_asked_for_again(terminal: Terminal, tmp_path: Path) -> None:
    answer(
        terminal,
        ("Provider", "azure"),
        ("there is no provider azure", ""),
        ("name [edge]", "Not A Name"),
        ("a cluster file cannot have these values", "mine"),
        ("How many agents", "many"),
        ("a cluster file cannot have these values", "1"),
        ("K3s version", "1.34"),
        ("a cluster file cannot have these values", VERSION),
        ("Write this", "y"),
    )
    assert terminal.end() == 0
    spec = load_cluster_file(tmp_path / "cluster.yaml", {})
    assert (spec.name, [node.name for node in spec.nodes]) == ("mine", ["server-1", "agent-1"])


def test_what_was_typed_is_kept_where_no_channel_server_answers(tmp_path: Path) -> None:
    without = {**ENVIRONMENT, "HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    with in_front_of(INIT, tmp_path, without) as terminal:
        answer(
            terminal,
            ("Provider", ""),
            ("name [edge]", "mine"),
            ("How many", ""),
            ("K3s version", ""),
            ("could not be resolved", ""),
            ("no version yet", VERSION),
            ("Write this", ""),
        )
        assert terminal.end() == 0, terminal.shown
    spec = load_cluster_file(tmp_path / "cluster.yaml", {})
    assert (spec.name, spec.k3s.version) == ("mine", VERSION)


def test_networks_are_asked_for_where_nothing_is_open_by_default(terminal: Terminal, tmp_path: Path) -> None:
    answer(
        terminal,
        ("Provider", "aws"),
        ("Region", "eu-central-1"),
        ("Networks", "203.0.113.0/24, 198.51.100.7/32"),
        ("name [edge]", ""),
        ("How many agents [0]", ""),
        ("SSH user", ""),
        ("SSH key", ""),
        ("Jump host", ""),
        ("K3s version", VERSION),
        ("Write this", ""),
    )
    assert terminal.end() == 0
    assert "198.51.100.7/32" in (tmp_path / "cluster.yaml").read_text()


def test_whoever_says_no_has_no_file(terminal: Terminal, tmp_path: Path) -> None:
    answer(terminal, ("Provider", ""), ("name", ""), ("How many", ""), ("K3s version", VERSION), ("Write this", "n"))
    assert terminal.end() == 4
    assert "Nothing was written." in terminal.shown
    assert not (tmp_path / "cluster.yaml").exists()


def test_a_terminal_that_nobody_sits_at_is_not_asked_for_ever(terminal: Terminal, tmp_path: Path) -> None:
    answer(terminal, ("Provider", "onprem"), *[("Server", "")] * 5)
    assert terminal.end() == 2
    assert "init.no-answer" in terminal.shown
    assert not (tmp_path / "cluster.yaml").exists()


def test_ctrl_c_ends_a_question(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("Provider")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert not (tmp_path / "cluster.yaml").exists()


def test_an_option_says_that_nothing_is_asked(tmp_path: Path) -> None:
    mine, its = pty.openpty()
    done = subprocess.run(
        (*INIT, "--version", VERSION),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=its,
        stdout=its,
        stderr=its,
        timeout=20,
        check=False,
    )
    os.close(its)
    os.close(mine)
    assert done.returncode == 0
    assert (tmp_path / "cluster.yaml").exists()
