"""The person at the terminal, or nobody: implements `Interaction` for both."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.cli.answers import Answers
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.text import plan_lines

_WORD_EVERY_SECONDS = 15.0


@dataclass
class _Running:
    activity: str
    since: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)


class _Board:
    """What runs now, one line per host with its time; drawn anew by rich as time passes."""

    def __init__(self) -> None:
        self.running: dict[str, _Running] = {}

    def __rich__(self) -> RenderableType:
        now = time.monotonic()
        lines = (
            Text.assemble(("  … ", "cyan"), (f"{subject:<16} ", "bold"), item.activity, f"  {now - item.since:.0f} s")
            for subject, item in self.running.items()
        )
        return Group(*lines)


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
    """Progress and questions. Colours and moving lines appear only on a terminal; otherwise one line per event.

    With `assume_yes` nothing is asked and plans are agreed to; without a terminal and without it, questions get a no.
    Progress goes to standard error, so that `-o json` leaves standard output to the document.
    """

    def __init__(self, *, assume_yes: bool, quiet: bool = False) -> None:
        self._assume_yes = assume_yes
        self._quiet = quiet
        self._console = Console(file=cast("TextIO", _Lasting(sys.stderr)), highlight=False, soft_wrap=True)
        self._interactive = sys.stdin is not None and sys.stdin.isatty() and self._console.is_terminal
        self._answers = Answers(sys.stdin.fileno()) if self._interactive else None
        self._board = _Board()
        self._live: Live | None = None

    @property
    def unattended(self) -> bool:
        return self._assume_yes

    def note(self, message: str) -> None:
        if not self._quiet:
            self._console.print(Text(message))

    def started(self, subject: str, activity: str) -> None:
        self._board.running[subject] = _Running(activity)
        if self._quiet:
            return
        if not self._console.is_terminal:
            self._console.print(Text(f"  …  {subject:<16} {activity}"))
        elif self._live is None:
            self._live = Live(self._board, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def progressed(self, subject: str, activity: str) -> None:
        item = self._board.running.setdefault(subject, _Running(activity))
        changed, item.activity = item.activity != activity, activity
        now = time.monotonic()
        if not self._quiet and not self._console.is_terminal and (changed or now - item.told > _WORD_EVERY_SECONDS):
            item.told = now
            self._console.print(Text(f"  …  {subject:<16} {activity}  {now - item.since:.0f} s"))

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None:
        self._board.running.pop(subject, None)
        if not self._quiet:
            mark, style = ("failed", "bold red") if failed else ("done", "green")
            self._console.print(
                Text.assemble((f"{mark:>6} ", style), (f"{subject:<16} ", "bold"), activity, f"  {seconds:.1f} s")
            )
        if not self._board.running:
            self.close()

    def close(self) -> None:
        """Stop drawing; the terminal is as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stop_answers(self) -> None:
        """End the wait for an answer, if there is one; from a signal handler."""
        if self._answers is not None:
            self._answers.stop()

    def agree(self, plan: Plan) -> bool:
        self.close()
        if self._assume_yes:
            return True
        if not self._interactive:
            return False
        for line in plan_lines(plan):
            self._console.print(Text(line))
        return self._yes("Apply this plan?")

    def agree_to_destroy(self, cluster: str, dies: tuple[str, ...]) -> bool:
        self.close()
        self._console.print(Text("These die:"))
        for line in dies:
            self._console.print(Text(f"  {line}"))
        if self._assume_yes:
            return True
        if not self._interactive:
            return False
        return self._ask(f"Type the cluster's name ({cluster}) to go on: ") == cluster

    def trust_host_key(self, host: str, keys: tuple[str, ...]) -> bool:
        self.close()
        if not self._interactive:
            return False
        self._console.print(Text(f"{host} shows a host key that is not known yet:"))
        for key in keys:
            self._console.print(Text(f"  {key}"))
        return self._yes("Is it the host's key? It is written to known_hosts beside the cluster file.")

    def sudo_password(self, host: str) -> Secret | None:
        self.close()
        if not self._interactive:
            return None
        return Secret(self._ask(f"sudo password on {host}, tried on the other hosts too: ", hidden=True))

    def _yes(self, question: str) -> bool:
        return self._ask(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    def _ask(self, prompt: str, *, hidden: bool = False) -> str:
        """Return what is typed; '' without an answer. Raises Interrupted when the run shall stop."""
        if self._answers is None:
            return ""
        answered = False
        try:
            line = self._answers.ask(lambda: self._console.print(Text(prompt), end=""), hidden=hidden)
            answered = not hidden
        finally:
            if not answered:
                self._console.print()
        return line
