"""PURE: the answer of a check, written in one line."""

from __future__ import annotations

from typing import Literal, Tuple

from productive_k3s.contract.events import CheckResult

Severity = Literal["error", "warning", "info"]
EVIDENCE_LENGTH = 400


def passed(check: str, subject: str, message: str, evidence: str = "", severity: Severity = "error") -> CheckResult:
    """Return a check that found what it looked for. `severity` is what a failure of it would have meant."""
    return CheckResult(check, subject, True, severity, message, shortened(evidence))


def failed(check: str, subject: str, message: str, evidence: str, remedy: str) -> CheckResult:
    """Return a check whose failure means that something is broken."""
    return CheckResult(check, subject, False, "error", message, shortened(evidence), remedy)


def warned(check: str, subject: str, message: str, evidence: str, remedy: str) -> CheckResult:
    """Return a check whose failure wants somebody's attention, and breaks nothing yet."""
    return CheckResult(check, subject, False, "warning", message, shortened(evidence), remedy)


def judged(
    check: str, subject: str, *, good: bool, messages: Tuple[str, str], evidence: str, remedy: str
) -> CheckResult:
    """Return a check with the first of `messages` if it is good; else it failed, with the second and the remedy."""
    if good:
        return passed(check, subject, messages[0], evidence)
    return failed(check, subject, messages[1], evidence, remedy)


def shortened(text: str) -> str:
    """Return the text on one line, cut in its middle: long errors begin with who complains and end with the cause."""
    line = " ".join(text.split())
    if len(line) <= EVIDENCE_LENGTH:
        return line
    half = (EVIDENCE_LENGTH - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"
