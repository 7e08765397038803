"""The person at the terminal, or nobody: implements `Interaction` for both."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.console import Group as Lines
from rich.live import Live
from rich.text import Text

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.cli.answers import Answers
from productive_k3s_infra.cli.board import Board, Group, duration, group_words
from productive_k3s_infra.cli.painting import painted
from productive_k3s_infra.hosts.fleet.telling import READING
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.text import plan_text
from productive_k3s_infra.progress.activities import activities_of

_WORTH_A_LINE_SECONDS = 1.0
_DIGITS = re.compile(r"\d+")


class _Drawn:
    """The board as rich draws it: anew as time passes, at the size that the terminal has just then."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._board.lines(options.max_width, console.size.height - 1, unicode=_speaks_unicode(console))
        yield Lines(*(Text.assemble(*line, no_wrap=True, overflow="crop") for line in lines))


def _speaks_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


class _Lasting:
    """A stream that may go away (EIO of a closed terminal, EPIPE of a pipe): a run is not broken off for its words."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Terminal:
    """Progress and questions. A terminal has a board that moves; everything else has one line an event.

    With `assume_yes` nothing is asked and plans are agreed to; without a terminal and without it, questions get a no.
    Progress goes to standard error, so that `-o json` leaves standard output to the document. `quiet` says nothing
    but what is asked; `full` shows plans whole.
    """

    def __init__(
        self,
        *,
        assume_yes: bool,
        quiet: bool = False,
        full: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._assume_yes = assume_yes
        self._quiet = quiet
        self._full = full
        self._console = Console(file=cast("TextIO", _Lasting(sys.stderr)), highlight=False, soft_wrap=True)
        self._interactive = sys.stdin is not None and sys.stdin.isatty() and self._console.is_terminal
        self._answers = Answers(sys.stdin.fileno()) if self._interactive else None
        self._moves = self._console.is_terminal and not self._console.is_dumb_terminal
        self._clock = clock
        self._board = Board(clock)
        self._live: Live | None = None
        self._said: set[tuple[str, str]] = set()
        self._asking = False
        self._held: list[Text] = []

    @property
    def unattended(self) -> bool:
        return self._assume_yes

    def note(self, message: str) -> None:
        self._print(Text(message))

    def started(self, subject: str, activity: str) -> None:
        self._board.started(subject, activity)
        if self._moves:
            self._draw()
        elif activity not in READING:
            self._print(Text(f"{self._dots:>6} {subject:<16} {activity}"))

    def progressed(self, subject: str, activity: str) -> None:
        row = self._board.progressed(subject, activity)
        # Words that differ in a number only say the same once more: a log has them once.
        said = (subject, _DIGITS.sub("#", activity))
        if self._moves or said in self._said or (row is not None and activity == row.activity):
            return
        self._said.add(said)
        since = f"  {duration(self._clock() - row.since)}" if row is not None else ""
        self._print(Text(f"{self._dots:>6} {subject:<16} {activity}{since}"))

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None:
        over = self._board.finished(subject, activity, seconds, failed=failed)
        self._said = {said for said in self._said if said[0] != subject}
        together = self._moves or activity in READING
        if not together or (failed and activity not in READING):
            self._end(f"{subject:<16} {activity}", seconds, failed=failed)
        if together and over is not None:
            self._end_group(over)
        if self._board.is_empty:
            self._stop_drawing()

    def dropped(self, subject: str, activity: str) -> None:
        """Say nothing: why the run ends is said once, below."""
        self._board.dropped(subject, activity)
        if self._board.is_empty:
            self._stop_drawing()

    def refresh(self) -> None:
        """Draw the board as it is now, without waiting for the next time."""
        if self._live is not None:
            self._live.refresh()

    def close(self) -> None:
        """Stop drawing; the terminal is as it was."""
        self._stop_drawing()
        for group in self._board.left():
            if self._moves or group.activity in READING:
                self._end_group(group)

    def stop_answers(self) -> None:
        """End the wait for an answer, if there is one; from a signal handler."""
        if self._answers is not None:
            self._answers.stop()

    def agree(self, plan: Plan) -> bool:
        self.close()
        if not self._quiet or self._interactive:
            for line in plan_text(plan, full=self._full):
                self._console.print(painted(line))
        return self._assume_yes or (self._interactive and self._yes("Apply this plan?"))

    def expect(self, plan: Plan, then: str = "") -> None:
        """Know how many of each kind are to come: see `Expecting`."""
        self._board.expect(activities_of(plan), then)

    def agree_to_destroy(self, cluster: str, dies: tuple[str, ...]) -> bool:
        self.close()
        self._console.print(Text("This will be deleted:"))
        for line in dies:
            self._console.print(Text(f"  {line}"))
        if self._assume_yes:
            return True
        if not self._interactive:
            return False
        return self._ask(f"Type the cluster's name ({cluster}) to continue: ") == cluster

    def trust_host_key(self, host: str, keys: tuple[str, ...]) -> bool:
        self.close()
        if not self._interactive:
            return False
        self._console.print(Text(f"{host} shows a host key that is not known yet:"))
        for key in keys:
            self._console.print(Text(f"  {key}"))
        return self._yes("Is this the host's key? If so, it is added to known_hosts beside the cluster file.")

    def sudo_password(self, host: str) -> Secret | None:
        self.close()
        if not self._interactive:
            return None
        return Secret(self._ask(f"sudo password on {host} (also tried on the other hosts): ", hidden=True))

    def _yes(self, question: str) -> bool:
        return self._ask(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    def _ask(self, prompt: str, *, hidden: bool = False) -> str:
        """Return what is typed; '' without an answer. Raises Interrupted when the run shall stop."""
        if self._answers is None:
            return ""
        answered, self._asking = False, True
        try:
            line = self._answers.ask(lambda: self._console.print(Text(prompt), end=""), hidden=hidden)
            answered = not hidden
        finally:
            if not answered:
                self._console.print()
            self._asking = False
            while self._held:
                self._console.print(self._held.pop(0))
            self._draw()
        return line

    @property
    def _dots(self) -> str:
        return "…" if _speaks_unicode(self._console) else "..."

    def _print(self, text: Text) -> None:
        """Print a line that stays; one that comes while somebody types waits for the answer."""
        if self._quiet:
            return
        if self._asking:
            self._held.append(text)
        else:
            self._console.print(text)

    def _draw(self) -> None:
        if self._moves and self._live is None and not (self._quiet or self._asking or self._board.is_empty):
            self._live = Live(_Drawn(self._board), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def _stop_drawing(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _end(self, words: str, seconds: float, *, failed: bool) -> None:
        mark, style = ("failed", "bold red") if failed else ("done", "green")
        self._print(Text.assemble((f"{mark:>6} ", style), words, f"  {seconds:.1f} s"))

    def _end_group(self, group: Group) -> None:
        """Say once how all of them ended: what failed by itself was told, but for looks, which say why later."""
        reading = group.activity in READING
        if reading and not group.failed and (self._moves or group.longest < _WORTH_A_LINE_SECONDS):
            return  # the board showed it, or it was over at once: nothing of it stays
        if not group.done and not reading:
            return
        if not reading:
            group = replace(group, failed=[])
        self._end(group_words(group), group.longest, failed=bool(group.failed))
