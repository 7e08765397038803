"""The command line itself: short options, the version, output that nobody reads, and what is loaded for `--help`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import typer

from productive_k3s import __version__
from productive_k3s_infra.cli.app import app
from static.command_line import FILE, command, environment, pk3s, with_other_part

VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# Names what was loaded, pydantic not among it: typer itself asks it about the options of a verb.
_PROBE = """\
import sys
import typer
before = set(sys.modules)
from productive_k3s_infra.cli.app import main
try:
    main()
except SystemExit as ended:
    print(f"ended {ended.code}")
heavy = {"asyncio", "asyncssh", "yaml", "httpx", "cryptography", "ruamel.yaml", "rich", "markdown_it"}
print("heavy", sorted(heavy & set(sys.modules) - before))
ours = (name for name in set(sys.modules) - before if name.startswith("productive_k3s"))
print("ours", sorted({name.split(".")[1] for name in ours if name.count(".") > 1}))
"""


@pytest.mark.parametrize("words", [("-h",), ("--help",), (), ("apply", "-h"), ("init", "-h"), ("completion", "-h")])
def test_help_loads_no_verb(words: tuple[str, ...]) -> None:
    """Nor what draws, reads YAML or speaks to hosts: only what says which words there are."""
    done = pk3s(*words, code=_PROBE)
    said = done.stdout.splitlines()
    assert any("Usage: " in line for line in said + done.stderr.splitlines())
    assert said[-3:] == [f"ended {0 if words else 2}", "heavy []", "ours ['cli', 'contract']"]


def test_the_list_of_verbs_says_each_whole() -> None:
    """As its own help begins, at any width; click cuts such lines off."""
    said = " ".join(pk3s("--help").stdout.partition("Commands:")[2].split())
    for name, verb in VERBS.items():
        first = verb.help.partition(".\n")[0].partition(". ")[0]
        assert f"{name} {' '.join(first.split())}" in said


def test_the_version_is_said() -> None:
    done = pk3s("--version")
    assert (done.returncode, done.stdout) == (0, f"pk3s {__version__}\n"), done.stderr


@pytest.mark.parametrize("verb", ["apply", "destroy"])
def test_agreeing_has_a_short_word(verb: str, tmp_path: Path) -> None:
    done = pk3s(verb, "-y", "-f", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "none.yaml" in done.stderr
    assert "No such option" not in done.stderr


def test_a_reader_that_went_away_changes_nothing(tmp_path: Path) -> None:
    """As of `pk3s init | true`: the exit code says how the run ended, and nothing else is said."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            command("init", "--version", "v1.34.4+k3s1"),
            env=environment(),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "cluster.yaml").exists()


def test_a_bug_says_so_and_where_it_is_written_down(tmp_path: Path) -> None:
    """The traceback is in the journal, and on the screen; what looks like a token is in neither."""
    secret = f"K10{'ab' * 32}::server:{'cd' * 16}"
    file = tmp_path / "cluster.yaml"
    file.write_text(FILE)
    done = pk3s("apply", "-f", str(file), code=with_other_part(f'raise KeyError("token: {secret}")'))
    assert done.returncode == 1, done.stderr
    assert "error: this is a bug in pk3s [pk3s.bug]" in done.stderr
    assert "in other_part" in done.stderr
    (journal,) = (tmp_path / ".pk3s").rglob("*.jsonl")
    assert f"  journal: {journal}" in done.stderr.splitlines()
    text = journal.read_text()
    assert "other_part" in text
    assert "KeyError" in text
    assert "cdcd" not in text + done.stderr


@pytest.mark.parametrize(
    ("words", "missing"),
    [(("cordon",), "NODE"), (("drain", "--timeout", "0", "agent-1"), "--timeout"), (("uncordon",), "NODE")],
)
def test_a_verb_about_a_node_wants_it_named(words: tuple[str, ...], missing: str) -> None:
    done = pk3s(*words)
    assert done.returncode == 2
    assert missing in done.stderr
