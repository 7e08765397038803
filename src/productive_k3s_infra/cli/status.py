"""`pk3s status`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.cli.options import DEFAULT_FILE, File, Format, Output, Progress, ProgressForm
from productive_k3s_infra.cli.running import finish, open_terminal, say, say_result, wait_for
from productive_k3s_infra.cli.wanted import WANTED
from productive_k3s_infra.errors import BadInput, Interrupted

if TYPE_CHECKING:
    from productive_k3s_infra.operations.node_status import Status
    from productive_k3s_infra.operations.session import Session

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again at intervals until Ctrl-C.")]
Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=1, help="Seconds between two looks of --watch.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Show one line, and exit with 6 if the cluster is not as declared: for cron.")
]
# Erase what is there and begin at the top, ECMA-48.
_CLEAR = "\x1b[H\x1b[2J"


def status(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    watch: Watch = False,
    interval: Interval = 5.0,
    check: Check = False,
) -> None:
    """Show one line per host: machine, service, version, Ready.

    Examples: `pk3s status`, `pk3s status --watch`, `pk3s status --check || mail -s edge ops@k3s.example`.
    """
    from productive_k3s_infra.answers.made import status_answer
    from productive_k3s_infra.operations.node_status import differences
    from productive_k3s_infra.operations.session import open_session
    from productive_k3s_infra.operations.status import get_status

    def run() -> int:
        if watch and (check or WANTED.is_document):
            raise BadInput("what goes on is no document and no check", where="--watch", remedy="leave one of them out")
        # What cron mails is the one line; what is drawn again and again has its own place.
        terminal = open_terminal(assume_yes=False, quiet=watch or check)
        session = open_session(file, os.environ, terminal)
        if watch:
            try:
                wait_for(_watch(session, interval), terminal)
            except Interrupted as end:
                return end.exit_code  # that is how it ends
        found = wait_for(get_status(session), terminal)
        other = differences(found, session.spec.k3s.version)
        code = (ExitCode.INVALID if other else ExitCode.DONE) if check else ExitCode(found.exit_code)
        return say_result(status_answer(found, other, exit_code=code), _lines(found, other, check=check))

    finish(run)


def _lines(found: Status, other: tuple[str, ...], *, check: bool) -> Iterator[str]:
    from productive_k3s_infra.cli.show import status_lines

    if not check:
        yield from status_lines(found)
    elif other:
        yield f"{found.cluster}: NOT as declared: {'; '.join(other)}"
    else:
        yield f"{found.cluster}: as declared: {found.verdict}"


async def _watch(session: Session, interval: float) -> None:
    """Show each look in the place of the one before; where that is no terminal, only those that differ."""
    from productive_k3s_infra.cli.show import status_lines
    from productive_k3s_infra.operations.status import watch_status

    redraws = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    shown: list[str] = []
    async for found in watch_status(session, interval):
        lines = list(status_lines(found))
        if redraws or lines != shown:
            head = f"{found.cluster}, {datetime.now().astimezone():%H:%M:%S}, every {interval:g} s; Ctrl-C ends it"
            say((f"{_CLEAR}{head}" if redraws else f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}", *lines))
        shown = lines
