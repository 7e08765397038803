"""The wire: newline-delimited JSON on standard output: one `hello`, events, exactly one last `result`.

Text before `hello` is a shell's noise. No `result` means that the outcome is unknown, and facts decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Mapping, Optional, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure

SCHEMA = 1

EventKind = Literal["change-started", "change-done", "waiting", "note"]
Outcome = Literal["done", "unchanged", "planned", "failed", "refused", "locked", "interrupted"]


@dataclass(frozen=True)
class Hello:
    """First line: who answers."""

    program: str
    python: str
    schema: int = SCHEMA
    type: Literal["hello"] = "hello"


@dataclass(frozen=True)
class Event:
    """Something happens. `kind` is change-started, change-done, waiting, note; `seconds` since the run began."""

    kind: EventKind
    message: str
    seconds: float
    change: str = ""
    type: Literal["event"] = "event"


@dataclass(frozen=True)
class CheckResult:
    """One question of a validation and its answer. `severity` is what a failure of it means."""

    id: str
    subject: str
    passed: bool
    severity: Literal["error", "warning", "info"]
    message: str
    evidence: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Result:
    """Last line: how it ended. `changes` are those made, or those a plan would make. `data` is a verb's own answer."""

    outcome: Outcome
    failures: Tuple[Failure, ...] = ()
    changes: Tuple[Change, ...] = ()
    notes: Tuple[str, ...] = ()
    facts: Optional[Facts] = None
    checks: Tuple[CheckResult, ...] = ()
    data: Optional[Mapping[str, Any]] = None
    type: Literal["result"] = "result"
