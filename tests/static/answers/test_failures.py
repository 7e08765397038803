"""`pk3s` as it is run: however it ends, standard output is one document, and standard error is for people."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.lock import hold
from static.answers.documents import mistakes_in, require_answer
from static.command_line import FILE, ROOT, command, environment, pk3s, with_other_part

MISTAKES = FILE.replace("v1.34.4+k3s1", "latest").replace("role: server", "rule: server")
BUG = with_other_part('raise KeyError("nobody expected it")')
SLOW = with_other_part('print("begun", file=sys.stderr, flush=True); await asyncio.sleep(60)')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cluster.yaml").write_text(FILE)
    (tmp_path / "bad.yaml").write_text(MISTAKES)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("plan", "-f", "none.yaml"), 2, "file.invalid"),
        (("status", "-f", "bad.yaml"), 2, "file.invalid"),
        (("init", "-f", "new.yaml", "--provider", "vsphere"), 2, "init.provider"),
        (("init",), 2, "init.exists"),
        (("init", "-f", "new.yaml", "--from-host", "10.0.0.11", "--agents", "0"), 2, "init.from-host"),
        (("support", "--out", "bundle.zip"), 2, "support.no-archive"),
        (("validate", "--bogus"), 2, "input.usage"),
        (("cordon",), 2, "input.usage"),
        (("drain", "server-1", "--timeout", "0"), 2, "input.usage"),
        (("destroy", "--progress", "loud"), 2, "input.usage"),
        (("kubeconfig",), 5, "ssh.refused"),
    ],
)
def test_what_goes_wrong_is_a_document(folder: Path, words: tuple[str, ...], exit_code: int, code: str) -> None:
    done = pk3s(*words, "-o", "json", folder=folder)
    assert done.returncode == exit_code, done.stderr
    document = json.loads(done.stdout)
    require_answer(document, words[0], exit_code)
    assert document["error"]["code"] == code
    assert done.stderr


def test_every_mistake_of_the_file_has_its_place(folder: Path) -> None:
    document = yaml.safe_load(pk3s("apply", "-f", "bad.yaml", "-o", "yaml", folder=folder).stdout)
    require_answer(document, "apply", 2)
    places = [(item["file"], item["line"], item["code"]) for item in document["error"]["mistakes"]]
    assert len(places) >= 3
    assert ("bad.yaml", 6, "request.version") in places
    assert ("bad.yaml", 7, "file.unknown-key") in places


def test_a_cluster_that_another_run_holds(folder: Path) -> None:
    with hold(Workspace(folder / "cluster.yaml", "edge"), "apply"):
        done = pk3s("apply", "--yes", "-o", "json", folder=folder)
    require_answer(json.loads(done.stdout), "apply", 7)


def test_a_bug_is_a_document_with_the_journal(folder: Path) -> None:
    done = pk3s("apply", "-o", "json", code=BUG, folder=folder)
    document = json.loads(done.stdout)
    require_answer(document, "apply", 1)
    assert document["error"]["code"] == "pk3s.bug"
    assert Path(document["error"]["journal"]).exists()
    assert "in other_part" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_a_document(folder: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        command("apply", "--yes", "-o", "json", code=SLOW),
        env=environment(),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "begun\n"
        running.send_signal(number)
        text, _ = running.communicate(timeout=60)
    require_answer(json.loads(text), "apply", 130)
    assert running.returncode == 130
    assert json.loads(text)["error"]["code"] == "run.interrupted"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("plan", "-f", "none.yaml"), "file.invalid"),
        (("plan", "--bogus"), "input.usage"),
        (("kubeconfig",), "ssh.refused"),
    ],
)
def test_errors_are_lines_too(folder: Path, words: tuple[str, ...], code: str) -> None:
    lines: list[dict[str, Any]] = list(
        map(json.loads, pk3s(*words, "--progress", "json", folder=folder).stderr.splitlines())
    )
    assert [problem for line in lines for problem in mistakes_in(line, "progress")] == []
    assert (lines[-1]["kind"], lines[-1]["error"]["code"]) == ("error", code)


def test_what_the_page_shows_is_what_is_printed(folder: Path) -> None:
    page = (ROOT / "docs/reference/answers.md").read_text(encoding="utf-8")
    shown = page.partition("-o json 2>/dev/null\n")[2].partition("```")[0]
    assert shown == pk3s("plan", "-f", "nothere.yaml", "-o", "json", folder=folder).stdout


def test_no_word_at_all_is_answered_with_help(folder: Path) -> None:
    done = pk3s(folder=folder)
    assert "Usage: " in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_format_is_said_to_people(folder: Path) -> None:
    done = pk3s("plan", "-o", "xml", folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'xml' is not one of 'text', 'json', 'yaml'" in done.stderr
    assert "Value error" not in done.stderr
