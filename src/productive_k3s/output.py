"""What the program says: NDJSON for a driver, or text for a person. Only this module and `__main__` print."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import Any, List, Protocol, TextIO

from productive_k3s import __version__
from productive_k3s.contract.change import Change
from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import CheckResult, Event, EventKind, Hello, Result
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.secret import Secret

_SAME_AGAIN_SECONDS = 10.0
_MARKS = {"read": " ", "change": "+", "disrupt": "!"}


class Output(Protocol):
    """Where hello, events and the result go. `gone` turns true when nobody reads any more."""

    gone: bool

    def hello(self) -> None: ...

    def event(self, kind: EventKind, message: str, change: str = "") -> None: ...

    def result(self, result: Result) -> None: ...


class _Lines:
    """Writes lines, and notices that the reader is gone instead of dying of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self.gone = False

    def seconds(self) -> float:
        return round(time.monotonic() - self._began, 2)

    def line(self, text: str) -> None:
        if self.gone:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:  # EPIPE of a pipe, EIO of a terminal that was closed
            self.gone = True
            # Python flushes standard output once more when it ends, and would complain then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class WireOutput(_Lines):
    """One JSON document per line: hello, events, exactly one result."""

    def hello(self) -> None:
        """Say who answers."""
        self._document(Hello(program=__version__, python=".".join(map(str, sys.version_info[:3]))))

    def event(self, kind: EventKind, message: str, change: str = "") -> None:
        """Say what happens."""
        self._document(Event(kind, message, self.seconds(), change))

    def result(self, result: Result) -> None:
        """Say how it ended. Its own answer may be a secret that was asked for (`token`, `kubeconfig`)."""
        document = encode(replace(result, data=None))
        if result.data is not None:
            document["data"] = {
                key: encode(value, unmask=isinstance(value, Secret)) for key, value in result.data.items()
            }
        self.line(json.dumps(document, separators=(",", ":")))

    def _document(self, value: Any) -> None:
        self.line(json.dumps(encode(value), separators=(",", ":")))


class TextOutput(_Lines):
    """Lines for a person. A wait that still sees the same is said again only now and then."""

    _waiting = ("", 0.0)

    def hello(self) -> None:
        """Say nothing: a person knows what was typed."""

    def event(self, kind: EventKind, message: str, change: str = "") -> None:
        """Print one line of progress; what is done shows by what comes next."""
        if (kind != "change-done" or not change) and not (kind == "waiting" and self._is_stale(message)):
            self.line(f"[{self.seconds():6.1f} s] {'... ' if kind == 'waiting' else ''}{message}")

    def _is_stale(self, message: str) -> bool:
        said, when = self._waiting
        if said == message and self.seconds() - when < _SAME_AGAIN_SECONDS:
            return True
        self._waiting = (message, self.seconds())
        return False

    def result(self, result: Result) -> None:
        """Print how it ended, with what a person can do about it."""
        for line in result_lines(result):
            self.line(line)


class FactsOutput(TextOutput):
    """The facts as one JSON document, for a person or a pipe; what is to be said of them goes to standard error."""

    def result(self, result: Result) -> None:
        """Print the facts; a failure goes where failures of other verbs go."""
        if result.facts is None:
            super().result(result)
        else:
            self.line(json.dumps(encode(result.facts), indent=2))
            for note in result.notes:
                print(f"note: {note}", file=sys.stderr)


class KubeconfigOutput(TextOutput):
    """The kubeconfig as it is, for a pipe."""

    def result(self, result: Result) -> None:
        """Print the kubeconfig; a failure goes where failures of other verbs go."""
        found = (result.data or {}).get("kubeconfig")
        if isinstance(found, Secret):
            self.line(found.unmask().rstrip("\n"))
        else:
            super().result(result)


def result_lines(result: Result) -> List[str]:
    """PURE: return a result as text."""
    lines: List[str] = []
    if result.outcome == "planned":
        lines.extend(line for change in result.changes for line in _change_lines(change))
    lines.extend(_check_line(check) for check in result.checks)
    lines.extend(f"note: {note}" for note in result.notes)
    lines.extend(line for failure in result.failures for line in _failure_lines(failure))
    if result.data is not None:
        lines.extend(line for key, value in result.data.items() for line in _data_lines(key, value))
    lines.append(_summary(result))
    return lines


def _data_lines(key: str, value: Any) -> List[str]:
    if isinstance(value, dict):
        return [f"{key} {name}: {_said(item)}" for name, item in value.items()]
    return [f"{key}: {_said(value)}"]


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value.unmask() if isinstance(value, Secret) else str(value)


def _change_lines(change: Change) -> List[str]:
    return [f"{_MARKS[change.impact]} {change.id}: {change.reason}", *(f"    {line}" for line in change.diff)]


def _check_line(check: CheckResult) -> str:
    mark = "ok  " if check.passed else check.severity
    more = (
        () if check.passed else (check.evidence and f" (seen: {check.evidence})", check.remedy and f"; {check.remedy}")
    )
    return f"{mark:8}{check.subject}: {check.message}{''.join(more)}"


def _failure_lines(failure: Failure) -> List[str]:
    lines = [f"error: {failure.what} [{failure.code}]"]
    if failure.evidence:
        lines.append(f"  seen: {failure.evidence}")
    if failure.remedy:
        lines.append(f"  do: {failure.remedy}")
    return lines


def _summary(result: Result) -> str:
    changes = f"{len(result.changes)} change{'' if len(result.changes) == 1 else 's'}"
    words = {
        "done": f"done: {changes}" if result.changes else "done",
        "unchanged": "unchanged: nothing to do",
        "planned": f"planned: {changes}; nothing was written",
        "failed": f"failed after {changes}" if result.changes else "failed",
        "refused": "refused: nothing was changed",
        "locked": "locked: nothing was changed",
        "interrupted": f"interrupted after {changes}; run it again to continue",
    }
    return words[result.outcome]
