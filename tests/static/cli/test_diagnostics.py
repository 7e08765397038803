"""`-v` and `--debug`: what was asked and run, for whoever looks for a fault; never a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from productive_k3s_infra.cli.app import app
from static.command_line import FILE, pk3s

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TOKEN = "correct-horse-battery"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cluster.yaml").write_text(FILE)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path


def log_named_in(said: str) -> Path:
    found = re.search(r"^debug: (\S+)$", said, re.MULTILINE)
    assert found, said
    return Path(found[1])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_both(verb: str) -> None:
    options = {name for item in VERBS[verb].params for name in item.opts}
    assert {"--verbose", "-v", "--debug"} <= options


def test_v_says_what_runs_here(folder: Path) -> None:
    plain, verbose = pk3s("status", folder=folder), pk3s("status", "-v", folder=folder)
    assert "ran ssh -G" not in plain.stderr
    assert "ran ssh -G -l root -p 1 -- 127.0.0.1: exit code 0" in verbose.stderr
    assert (verbose.stdout, verbose.returncode) == (plain.stdout, plain.returncode)


def test_debug_names_a_private_file_that_says_where_an_error_came_from(folder: Path) -> None:
    done = pk3s("validate", "--debug", folder=folder)
    log = log_named_in(done.stderr)
    assert log.stat().st_mode & 0o777 == 0o600
    assert "ran ssh -G" not in done.stderr
    text = log.read_text()
    assert "ran ssh -G" in text
    assert "asyncssh: Opening SSH connection to 127.0.0.1, port 1" in text
    assert "Traceback" in text
    assert "ssh/attempt.py" in text


def test_an_error_names_the_file_again_below_it(folder: Path) -> None:
    done = pk3s("kubeconfig", "--debug", folder=folder)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == f"  debug: {log_named_in(done.stderr)}"


def test_what_looks_like_a_secret_is_in_neither(folder: Path) -> None:
    done = pk3s("status", "-v", "--debug", "-f", f"token={TOKEN}", folder=folder)
    notes = [line for line in done.stderr.splitlines() if line.startswith("ran ")]
    log = log_named_in(done.stderr).read_text()
    assert "token=[redacted]" in log
    assert TOKEN not in "".join(notes) + log


def test_for_programs_it_stays_an_object_a_line(folder: Path) -> None:
    done = pk3s("status", "-v", "--debug", "--progress", "json", "-o", "json", folder=folder)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    notes = [line["activity"] for line in lines if line["kind"] == "note"]
    assert any(note.startswith("ran ssh -G") for note in notes)
    assert json.loads(done.stdout)


def test_without_them_no_file_is_left(folder: Path) -> None:
    pk3s("status", folder=folder)
    assert not list((folder / "tmp").glob("pk3s-*.log"))
