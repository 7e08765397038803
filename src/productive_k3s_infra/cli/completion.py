"""`pk3s completion`: a shell's words for what may follow, written where that shell looks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from productive_k3s_infra.cli.running import finish, say

NAMES = ("pk3s", "productive-k3s-infra")
_AREA = "completion"


class Shell(str, Enum):
    """The shells for which there is a completion."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


Which = Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.")]
Install = Annotated[bool, typer.Option("--install", help="Write it where your shell looks for it, and show where.")]


def completion(shell: Which, *, install: Install = False) -> None:
    """Print or install shell completion for commands, options, and the node names in ./cluster.yaml.

    Examples: `pk3s completion bash --install`, `source <(pk3s completion zsh)`, `pk3s completion fish | source`.
    """

    def run() -> int:
        if install:
            say(install_scripts(shell, os.environ, Path.home()))
        else:
            say(script(shell, name) for name in NAMES)
        return 0

    finish(run)


def variable(name: str) -> str:
    """Return the variable by which the shell asks the command."""
    return f"_{name.replace('-', '_').upper()}_COMPLETE"


def answer_shells(environment: Mapping[str, str]) -> None:
    """Make the command ready for a shell that asks what may follow; nothing happens where none asks."""
    if any(variable(name) in environment for name in NAMES):
        from typer.completion import completion_init  # type: ignore[attr-defined]  # typer marks no name as public

        completion_init()


def script(shell: Shell, name: str) -> str:
    """Return the script for one of the command's names."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer marks no name as public

    return get_completion_script(prog_name=name, complete_var=variable(name), shell=shell.value)


def install_scripts(shell: Shell, environment: Mapping[str, str], home: Path) -> Iterator[str]:
    """Write a script for each name of the command, and yield where it is and what the shell wants besides.

    No file that the person writes (~/.bashrc, ~/.zshrc) is touched. Raises BadInput where it cannot be written.
    """
    from productive_k3s_infra._files import explained, replace_file

    folder = _folder(shell, environment, home)
    for name in NAMES:
        path = folder / _file(shell, name)
        with explained(path, _AREA):
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, f"{_installed(shell, name)}\n".encode(), 0o644)
        yield str(path)
    yield from _besides(shell, folder)
    yield "A shell that is started from now on completes pk3s."


def _folder(shell: Shell, environment: Mapping[str, str], home: Path) -> Path:
    """Return where the shell looks for what a user adds: bash-completion(1), fish's docs, the usual one of zsh."""
    if shell is Shell.bash:
        data = Path(environment.get("XDG_DATA_HOME") or home / ".local/share")
        return Path(environment.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion") / "completions"
    if shell is Shell.fish:
        return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions"
    return home / ".zfunc"


def _file(shell: Shell, name: str) -> str:
    return {Shell.bash: name, Shell.zsh: f"_{name}", Shell.fish: f"{name}.fish"}[shell]


def _installed(shell: Shell, name: str) -> str:
    """Return the script as a file. zsh loads one as a function at the first Tab: it has to answer that one too."""
    text = script(shell, name)
    if shell is not Shell.zsh:
        return text
    function = re.search(r"^(\w+)\(\) \{", text, re.MULTILINE)
    return f'{text}\n[ "$funcstack[1]" = "_{name}" ] && {function[1]}' if function else text


def _besides(shell: Shell, folder: Path) -> Iterator[str]:
    if shell is Shell.bash:
        yield "bash reads it through the package bash-completion; without that: source it in ~/.bashrc"
    elif shell is Shell.zsh:
        yield f"~/.zshrc has to say: fpath+=({folder}); autoload -Uz compinit; compinit"
