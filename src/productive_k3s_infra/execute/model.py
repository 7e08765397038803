"""What came of each step, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.plan.model import Step

StepOutcome = Literal["done", "failed", "skipped"]


@dataclass(frozen=True)
class StepResult:
    """One step's end. `failure` says why it failed; `skipped_for` names the step whose failure made it impossible."""

    step: Step
    outcome: StepOutcome
    seconds: float = 0.0
    result: Result | None = None
    failure: Failure | None = None
    skipped_for: str = ""


def failed(results: tuple[StepResult, ...]) -> tuple[StepResult, ...]:
    """Return the results of the steps that failed, without those that were skipped for them."""
    return tuple(result for result in results if result.outcome == "failed")
