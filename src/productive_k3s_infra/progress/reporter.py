"""What happens, reported twice: to the person in short, to the journal in full."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Event
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import MachineStep, Step
from productive_k3s_infra.progress.activities import ACTIVITIES
from productive_k3s_infra.progress.interaction import Expecting, Interaction
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.journal import Journal


class Reporter:
    """Implements the executor's Listener."""

    def __init__(self, interaction: Interaction, journal: Journal) -> None:
        self._interaction = interaction
        self._journal = journal

    @property
    def journal(self) -> Path | None:
        """Where the journal is, None where none can be written."""
        return self._journal.path

    def looked(self, what: str, seconds: float) -> None:
        """Write down how long a look took."""
        self._journal.record("looked", what=what, seconds=round(seconds, 3))

    def planned(self, plan: Plan, *, then: str = "") -> None:
        """Write down the whole plan, which holds no secret, and let the person's board know what comes.

        `then` is what follows once all of its steps are done.
        """
        self._journal.record("plan", plan=encode(plan))
        if isinstance(self._interaction, Expecting):
            self._interaction.expect(plan, then)

    def holds_to(self, digest: str) -> None:
        """Write down which saved plan the run carries out: a later run of it goes on from there."""
        self._journal.record("saved-plan", digest=digest)

    def step_started(self, step: Step) -> None:
        """See Listener."""
        self._journal.record("step-started", step=step.id, host=step.host, reason=step.reason)
        self._interaction.started(step.subject, ACTIVITIES[step.action])

    def step_progressed(self, step: Step, event: Event) -> None:
        """See Listener."""
        self._journal.record("host", step=step.id, host=step.host, **_event(event))
        if event.kind != "change-done":
            self._interaction.progressed(step.subject, event.message)

    def step_ended(self, result: StepResult) -> None:
        """See Listener."""
        step, failure = result.step, result.failure
        self._journal.record(
            "step-ended",
            step=step.id,
            host=step.host,
            outcome=result.outcome,
            failure=asdict(failure) if failure else None,
            skipped_for=result.skipped_for,
        )
        if result.outcome == "skipped":
            self._interaction.note(f"skipped {step.id}: {result.skipped_for} did not succeed")
            return
        self._interaction.finished(
            step.subject, ACTIVITIES[step.action], result.seconds, failed=result.outcome != "done"
        )
        if failure is not None and failure.exit_code == ExitCode.INTERRUPTED:
            self._interaction.note(f"{step.id}: {failure.what}; {failure.remedy}")

    def stopping(self, running: tuple[Step, ...]) -> None:
        """See Listener."""
        self._journal.record("stopping", running=[step.id for step in running])
        of_provider = [step.subject for step in running if isinstance(step, get_args(MachineStep))]
        if len(of_provider) < len(running):
            self._interaction.note("stopping: each host finishes its current change")
        if of_provider:
            names = ", ".join(of_provider)
            self._interaction.note(
                f"stopping: the provider finishes its current work ({names}); the cluster stays locked"
            )

    def validating(self, host: str, message: str) -> None:
        """What a host says while it validates."""
        self._journal.record("validating", host=host, message=message)
        self._interaction.progressed(host, message)

    def reported(self, report: Report) -> None:
        """Write down a report."""
        self._journal.record("report", report=report.document())

    def trouble(self, failure: Failure) -> None:
        """Something beside the steps went wrong, and the run goes on."""
        self.failed(failure)
        self._interaction.note(f"{failure.what} [{failure.code}]: {failure.evidence}".rstrip(": "))

    def failed(self, failure: Failure) -> None:
        """Write down what failed."""
        self._journal.record("failed", failure=asdict(failure))

    def bug(self, error: Exception) -> None:
        """Write down an error that nobody expects."""
        self._journal.record("bug", error="".join(traceback.format_exception(error)))

    def ended(self, exit_code: int, **fields: object) -> None:
        """Write down how the run ended."""
        self._journal.record("ended", exit_code=exit_code, **fields)


def _event(event: Event) -> dict[str, Any]:
    return {"event": event.kind, "message": event.message, "change": event.change, "host_seconds": event.seconds}
