"""`pk3s logs` and `pk3s ssh`: what a person wants of one host."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from productive_k3s_infra.cli.nodes import Node
from productive_k3s_infra.cli.options import DEFAULT_FILE, File, Format, Output, Progress, ProgressForm
from productive_k3s_infra.cli.running import finish, open_terminal, say, say_result, wait_for
from productive_k3s_infra.cli.wanted import WANTED
from productive_k3s_infra.errors import BadInput, Interrupted

if TYPE_CHECKING:
    from productive_k3s_infra.operations.logs import Logs
    from productive_k3s_infra.operations.session import Session

Lines = Annotated[int, typer.Option("--lines", "-n", min=1, max=20_000, help="At most this many lines of each unit.")]
Since = Annotated[
    str, typer.Option("--since", metavar="TIME", help="Start at this time: 30s, 10m, 2h or 3d ago, or an ISO time.")
]
Follow = Annotated[bool, typer.Option("--follow", help="Keep showing new lines until Ctrl-C.")]
Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND]", help="What to run there. One word is read by the host's shell."),
]


def logs(
    node: Node,
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    lines: Lines = 100,
    since: Since = "",
    follow: Follow = False,
) -> None:
    """Show the latest log lines of K3s on a node's host. Secrets are removed before they leave the host.

    Examples: `pk3s logs agent-1`, `pk3s logs server-1 --since 10m`, `pk3s logs agent-1 --follow`.
    """
    from productive_k3s_infra.answers.verbs import logs_answer
    from productive_k3s_infra.operations.logs import get_logs
    from productive_k3s_infra.operations.session import open_session

    def run() -> int:
        if follow and WANTED.is_document:
            raise BadInput("what goes on is no document", where="--follow", remedy="leave one out: --follow or -o")
        terminal = open_terminal(assume_yes=False)
        session = open_session(file, os.environ, terminal)
        if follow:
            try:
                wait_for(_follow(session, node, lines, since), terminal)
            except Interrupted as end:
                return end.exit_code  # that is how it ends
        found = wait_for(get_logs(session, node, lines=lines, since=since), terminal)
        _say_notes(found)
        return say_result(logs_answer(found), logs_lines(found))

    finish(run)


def ssh(node: Node, command: Command = None, file: File = DEFAULT_FILE) -> None:
    """Log in to a node's host with your own ssh: user, key, jump host and known host key are those of pk3s.

    Examples: `pk3s ssh agent-1`, `pk3s ssh agent-1 -- sudo k3s crictl ps`, `pk3s ssh agent-1 -- 'dmesg | tail'`.
    """
    from productive_k3s_infra.operations.session import open_session
    from productive_k3s_infra.operations.ssh import ssh_words

    def run() -> int:
        terminal = open_terminal(assume_yes=False)
        words = wait_for(ssh_words(open_session(file, os.environ, terminal), node, command or ()), terminal)
        sys.stdout.flush()
        os.execvp(words[0], words)  # noqa: S606 - the person's own ssh, in our place: its exit code is ours

    finish(run)


async def _follow(session: Session, node: str, lines: int, since: str) -> None:
    from productive_k3s_infra.operations.log_following import follow_logs

    async for found in follow_logs(session, node, lines=lines, since=since):
        _say(found)


def _say(found: Logs) -> None:
    say(logs_lines(found))
    _say_notes(found)


def _say_notes(found: Logs) -> None:
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)


def logs_lines(found: Logs) -> Iterator[str]:
    """PURE: the lines; with the unit's name before each where there are several."""
    for unit, text in found.units.items():
        before = f"{unit}: " if len(found.units) > 1 else ""
        yield from (f"{before}{line}" for line in text.splitlines())
