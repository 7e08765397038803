"""What came of each step, as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from productive_k3s.contract.events import Event, Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.plan.step import Step

StepOutcome = Literal["done", "failed", "skipped", "stopped"]

Say = Callable[[Event], None]
"""How whoever carries a step out says what happens meanwhile."""


@dataclass(frozen=True)
class StepResult:
    """One step's end. `failure` says why it failed; `skipped_for` names the step whose failure made it impossible.

    `stopped` is a step that ran while the whole run was told to stop.
    """

    step: Step
    outcome: StepOutcome
    seconds: float = 0.0
    result: Result | None = None
    failure: Failure | None = None
    skipped_for: str = ""


class Listener(Protocol):
    """Hears of every step. What it raises ends the run."""

    def step_started(self, step: Step) -> None: ...

    def step_progressed(self, step: Step, event: Event) -> None: ...

    def step_ended(self, result: StepResult) -> None: ...

    def stopping(self, running: tuple[Step, ...]) -> None:
        """The run was told to stop; these steps still run, and are waited for."""
        ...


def failed(results: tuple[StepResult, ...]) -> tuple[StepResult, ...]:
    """Return the results of the steps that failed, without those that were skipped for them."""
    return tuple(result for result in results if result.outcome == "failed")


def as_failure(error: Pk3sError) -> Failure:
    """Turn an error of the orchestration into a failure of its step."""
    return Failure(error.code, error.what, error.evidence, error.remedy, error.exit_code)
