"""PURE: how an apply ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.model import StepResult, failed
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer
from productive_k3s_infra.validate.report import Report


@dataclass(frozen=True)
class Applied:
    """How an apply ended. `report` is None where it ended before the validation; `journal` is where the rest is.

    `troubles` went wrong beside the steps and lost nothing of what was done. `saved` is the file of the saved plan that
    was applied, `done_before` are ids of its steps that earlier runs of it did.
    """

    plan: Plan
    preflight: Report
    journal: Path | None
    results: tuple[StepResult, ...] = ()
    report: Report | None = None
    seconds: float = 0.0
    troubles: tuple[Failure, ...] = ()
    saved: Path | None = None
    done_before: tuple[str, ...] = ()

    @property
    def as_before(self) -> tuple[str, ...]:
        """The nodes whose turn did not come, as one before them failed: they run with the settings of before."""
        return tuple(
            result.step.host
            for result in self.results
            if result.outcome == "skipped"
            and isinstance(result.step, ApplyServer | ApplyAgent)
            and result.step.impact == "disrupt"
        )

    @property
    def exit_code(self) -> int:
        """One of the table that both programs share (design, section 9)."""
        if not self.preflight.passed:
            return ExitCode.REFUSED
        first = next(iter(failed(self.results)), None)
        if first is not None:
            return first.failure.exit_code if first.failure and first.failure.exit_code else ExitCode.FAILED
        if self.report is not None and not self.report.passed:
            return ExitCode.INVALID
        return next((trouble.exit_code for trouble in self.troubles), 0)
