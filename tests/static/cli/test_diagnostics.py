"""`-v` and `--debug`: what was asked and run, for whoever looks for a fault; never a secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from productive_k3s_infra.cli.app import app

ROOT = Path(__file__).parents[3]
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TOKEN = "correct-horse-battery"
FILE = """\
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  provider: {kind: onprem}
  k3s: {version: v1.34.4+k3s1}
  nodes: [{name: server-1, role: server, address: 127.0.0.1, ssh: {port: 1}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cluster.yaml").write_text(FILE)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def pk3s(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "src"), *(path for path in sys.path if path)])
    return subprocess.run(
        [sys.executable, "-m", "productive_k3s_infra", *words],
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "160", "TMPDIR": str(folder / "tmp")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def log_named_in(said: str) -> Path:
    found = re.search(r"^debug: (\S+)$", said, re.MULTILINE)
    assert found, said
    return Path(found[1])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_both(verb: str) -> None:
    options = {name for item in VERBS[verb].params for name in item.opts}
    assert {"--verbose", "-v", "--debug"} <= options


def test_v_says_what_runs_here(folder: Path) -> None:
    plain, verbose = pk3s(folder, "status"), pk3s(folder, "status", "-v")
    assert "ran ssh -G" not in plain.stderr
    assert "ran ssh -G -l root -p 1 -- 127.0.0.1: exit code 0" in verbose.stderr
    assert (verbose.stdout, verbose.returncode) == (plain.stdout, plain.returncode)


def test_debug_names_a_private_file_that_says_where_an_error_came_from(folder: Path) -> None:
    done = pk3s(folder, "validate", "--debug")
    log = log_named_in(done.stderr)
    assert log.stat().st_mode & 0o777 == 0o600
    assert "ran ssh -G" not in done.stderr
    text = log.read_text()
    assert "ran ssh -G" in text
    assert "asyncssh: Opening SSH connection to 127.0.0.1, port 1" in text
    assert "Traceback" in text
    assert "ssh/attempt.py" in text


def test_an_error_names_the_file_again_below_it(folder: Path) -> None:
    done = pk3s(folder, "kubeconfig", "--debug")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == f"  debug: {log_named_in(done.stderr)}"


def test_what_looks_like_a_secret_is_in_neither(folder: Path) -> None:
    done = pk3s(folder, "status", "-v", "--debug", "-f", f"token={TOKEN}")
    notes = [line for line in done.stderr.splitlines() if line.startswith("ran ")]
    log = log_named_in(done.stderr).read_text()
    assert "token=[redacted]" in log
    assert TOKEN not in "".join(notes) + log


def test_for_programs_it_stays_an_object_a_line(folder: Path) -> None:
    done = pk3s(folder, "status", "-v", "--debug", "--progress", "json", "-o", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    notes = [line["activity"] for line in lines if line["kind"] == "note"]
    assert any(note.startswith("ran ssh -G") for note in notes)
    assert json.loads(done.stdout)


def test_without_them_no_file_is_left(folder: Path) -> None:
    pk3s(folder, "status")
    assert not list((folder / "tmp").glob("pk3s-*.log"))
