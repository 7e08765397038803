"""`--progress json`: what happens as JSON on standard error, an object a line. A program reads it: nobody is asked."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TextIO

from productive_k3s.contract.codec import encode
from productive_k3s.contract.redaction import redact
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.answers.made import problem
from productive_k3s_infra.answers.model import ProgressLine
from productive_k3s_infra.cli.terminal import Terminal
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.plan.model import Plan


def line_text(line: ProgressLine) -> str:
    """Return the line as it is written."""
    return json.dumps(encode(line)) + "\n"


def error_line(error: Pk3sError, details: tuple[str, ...] = ()) -> str:
    """Return the line of what a command ended with; `details` say where a bug happened."""
    said = problem(error)
    return line_text(
        ProgressLine(
            time=_now(),
            kind="error",
            subject=said.where,
            activity=said.what,
            failed=True,
            details=details,
            error=said,
        )
    )


class ProgressLines(Terminal):
    """Implements `Interaction` for a program: agrees to what was agreed to before (`--yes`), and to nothing else."""

    def __init__(self, stream: TextIO, *, assume_yes: bool) -> None:
        super().__init__(assume_yes=assume_yes, quiet=True)
        self._stream = stream
        self._agrees = assume_yes
        self._since: dict[str, float] = {}

    def note(self, message: str) -> None:
        self._say(ProgressLine(time=_now(), kind="note", activity=redact(message)))

    def started(self, subject: str, activity: str) -> None:
        self._since[subject] = time.monotonic()
        self._say(ProgressLine(time=_now(), kind="started", subject=subject, activity=activity, seconds=0.0))

    def progressed(self, subject: str, activity: str) -> None:
        seconds = time.monotonic() - self._since.setdefault(subject, time.monotonic())
        line = ProgressLine(time=_now(), kind="progressed", subject=subject, activity=activity)
        self._say(replace(line, seconds=round(seconds, 3)))

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None:
        self._since.pop(subject, None)
        line = ProgressLine(time=_now(), kind="finished", subject=subject, activity=activity, failed=failed)
        self._say(replace(line, seconds=round(seconds, 3)))

    def dropped(self, subject: str, activity: str) -> None:
        """A program hears the end of everything that began, and that it came to nothing."""
        now = time.monotonic()
        self.finished(subject, activity, now - self._since.get(subject, now), failed=True)

    def agree(self, plan: Plan) -> bool:
        steps = tuple(f"{step.id}: {step.reason}" for step in plan.steps)
        return self._ask_nobody(plan.cluster, "Apply this plan?", steps, agreed=self._agrees)

    def agree_to_destroy(self, cluster: str, dies: tuple[str, ...]) -> bool:
        return self._ask_nobody(cluster, "Destroy these?", dies, agreed=self._agrees)

    def trust_host_key(self, host: str, keys: tuple[str, ...]) -> bool:
        return self._ask_nobody(host, "Is it the host's key?", keys, agreed=False)

    def sudo_password(self, host: str) -> Secret | None:
        self._ask_nobody(host, "What is the sudo password?", (), agreed=False)
        return None

    def close(self) -> None:
        """Nothing is drawn."""

    def _ask_nobody(self, subject: str, question: str, details: tuple[str, ...], *, agreed: bool) -> bool:
        line = ProgressLine(time=_now(), kind="question", subject=subject, activity=question)
        self._say(replace(line, agreed=agreed, details=details))
        return agreed

    def _say(self, line: ProgressLine) -> None:
        # Where nobody reads any more, a run is not broken off for its words.
        with suppress(OSError):
            self._stream.write(line_text(line))
            self._stream.flush()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
