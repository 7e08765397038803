"""The command line itself: short options, the version, output that nobody reads, and what is loaded for `--help`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from productive_k3s import __version__
from static.command_line import FILE, command, environment, pk3s, with_other_part

# (typer itself loads pydantic to show a verb's options.)
_PROBE = """\
import sys
from productive_k3s_infra.cli.app import main
try:
    main()
except SystemExit as ended:
    print(f"ended {ended.code}")
heavy = {"asyncio", "asyncssh", "yaml", "httpx", "cryptography", "ruamel.yaml"} & set(sys.modules)
print(f"loaded {sorted(heavy)}")
"""


@pytest.mark.parametrize("words", [("-h",), ("--help",), ("apply", "-h"), ("destroy", "--help")])
def test_help_loads_no_verb(words: tuple[str, ...]) -> None:
    done = pk3s(*words, code=_PROBE)
    assert "Usage: " in done.stdout, done.stderr
    assert "ended 0" in done.stdout
    assert "loaded []" in done.stdout


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
    assert "error: this is a bug of pk3s [pk3s.bug]" in done.stderr
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
