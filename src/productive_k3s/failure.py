"""Why something did not work, as a value with a stable code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """One cause. `code` is stable (`k3s.token-mismatch`) and keys the docs; the rest is for people.

    `evidence` is one line that was seen (a log line, an errno, a value), never a secret.
    `exit_code` follows the one table of both programs: 2 bad input, 4 refused, 5 a step or wait failed, 6 validation,
    7 locked, 130 interrupted.
    """

    code: str
    what: str
    evidence: str = ""
    remedy: str = ""
    exit_code: int = 5


class ContractError(Exception):
    """Carries a Failure up to `__main__`, which turns it into the result and the exit code."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what)
        self.failure = failure
