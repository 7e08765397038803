"""`pk3s completion`: a real bash completes verbs, options and nodes; the scripts lie where the shells look."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from productive_k3s_infra.cli.completion import NAMES, Shell, install_scripts, script
from productive_k3s_infra.cli.node_names import node_names
from productive_k3s_infra.errors import BadInput
from static.command_line import ROOT, pk3s

CLUSTER = "spec:\n  nodes:\n    - {name: server-1, role: server}\n    - {name: agent, role: agent, count: 2}\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with a cluster file, and a `pk3s` that is this one."""
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    command = tmp_path / "bin" / "pk3s"
    command.parent.mkdir()
    start = "import sys; sys.argv[0] = 'pk3s'; from productive_k3s_infra.cli.app import main; main()"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{start}" "$@"\n')
    command.chmod(0o755)
    return tmp_path


def completed(place: Path, *words: str) -> list[str]:
    """Return what bash would offer for the last word."""
    line = " ".join(f"'{word}'" for word in ("pk3s", *words))
    text = f"{script(Shell.bash, 'pk3s')}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words)}\n"
    text += '_pk3s_completion pk3s\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    paths = os.pathsep.join([str(ROOT / "src"), *(path for path in sys.path if path)])
    done = subprocess.run(
        ("bash", "--norc", "-c", text),
        cwd=place,
        env={"PATH": f"{place / 'bin'}:/usr/bin:/bin", "PYTHONPATH": paths, "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_verbs_options_and_nodes(place: Path) -> None:
    assert completed(place, "unc") == ["uncordon"]
    assert "--new-cluster" in completed(place, "apply", "--ne")
    assert completed(place, "drain", "a") == ["agent-1", "agent-2"]
    assert completed(place, "plan", "--limit", "s") == ["server-1"]
    (place / "other.yaml").write_text(CLUSTER.replace("agent", "worker"))
    assert completed(place, "cordon", "-f", "other.yaml", "w") == ["worker-1", "worker-2"]


@pytest.mark.parametrize("content", ["", "spec: [", "spec: {nodes: [1]}", "\0"])
def test_a_file_that_does_not_load_offers_nothing_and_says_nothing(place: Path, content: str) -> None:
    (place / "cluster.yaml").write_text(content)
    assert completed(place, "drain", "a") == []


def test_a_count_from_nowhere_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER.replace("2", "1000000000"))
    assert len(list(node_names(file))) < 1000


@pytest.mark.parametrize(
    ("shell", "environment", "files"),
    [
        (Shell.bash, {}, ".local/share/bash-completion/completions/{}"),
        (Shell.bash, {"XDG_DATA_HOME": "HOME/data"}, "data/bash-completion/completions/{}"),
        (Shell.bash, {"BASH_COMPLETION_USER_DIR": "HOME/own"}, "own/completions/{}"),
        (Shell.zsh, {}, ".zfunc/_{}"),
        (Shell.fish, {}, ".config/fish/completions/{}.fish"),
        (Shell.fish, {"XDG_CONFIG_HOME": "HOME/conf"}, "conf/fish/completions/{}.fish"),
    ],
)
def test_it_is_installed_where_the_shell_looks(
    tmp_path: Path, shell: Shell, environment: dict[str, str], files: str
) -> None:
    there = {key: value.replace("HOME", str(tmp_path)) for key, value in environment.items()}
    lines = list(install_scripts(shell, there, tmp_path))
    for name in NAMES:
        path = tmp_path / files.format(name)
        assert str(path) in lines
        assert path.read_text().startswith(script(shell, name))
    assert {path.name for path in tmp_path.iterdir()} == {files.split("/", maxsplit=1)[0]}, (
        "no file of the person is touched"
    )
    assert any("~/.zshrc" in line for line in lines) == (shell is Shell.zsh)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ".zfunc").write_text("a file")
    with pytest.raises(BadInput) as caught:
        list(install_scripts(Shell.zsh, {}, tmp_path))
    assert caught.value.code == "completion.not-a-directory"


def test_scripts_are_printed_for_each_name() -> None:
    for shell in Shell:
        done = pk3s("completion", shell.value)
        assert done.returncode == 0, done.stderr
        for name in NAMES:
            assert script(shell, name) in done.stdout
