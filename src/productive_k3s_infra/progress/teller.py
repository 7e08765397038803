"""What happens, told twice: to the person in short, to the journal in full."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Event
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.plan.model import Plan, Step
from productive_k3s_infra.progress.interaction import Interaction
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.journal import Journal


class Teller:
    """Implements the executor's Listener, and hears the hosts' own events."""

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

    def planned(self, plan: Plan) -> None:
        """Write down the whole plan: it holds no secret."""
        self._journal.record("plan", plan=encode(plan))

    def step_started(self, step: Step) -> None:
        """See Listener."""
        self._journal.record("step-started", step=step.id, host=step.host, reason=step.reason)
        self._interaction.started(_subject(step), _activity(step))

    def host_said(self, step: Step, event: Event) -> None:
        """A host's own event while a step runs."""
        self._journal.record("host", step=step.id, host=step.host, **_event(event))
        if event.kind != "change-done":
            self._interaction.progressed(_subject(step), event.message)

    def step_ended(self, result: StepResult) -> None:
        """See Listener."""
        step = result.step
        self._journal.record(
            "step-ended",
            step=step.id,
            host=step.host,
            outcome=result.outcome,
            failure=asdict(result.failure) if result.failure else None,
            skipped_for=result.skipped_for,
        )
        if result.outcome == "skipped":
            self._interaction.note(f"skipped {step.id}: {result.skipped_for} did not end well")
            return
        self._interaction.finished(_subject(step), _activity(step), result.seconds, failed=result.outcome == "failed")

    def machine(self, name: str, activity: str) -> None:
        """A provider works on a machine (or on what all of them need)."""
        self._journal.record("machine", machine=name, activity=activity)
        self._interaction.progressed(name or "machines", activity)

    def reported(self, report: Report) -> None:
        """Write down a report."""
        self._journal.record("report", report=report.document())

    def validating(self, host: str, message: str) -> None:
        """What a host says while it validates."""
        self._journal.record("validating", host=host, message=message)
        self._interaction.progressed(host, message)

    def failed(self, failure: Failure) -> None:
        """Write down what failed."""
        self._journal.record("failed", failure=asdict(failure))

    def bug(self, error: Exception) -> None:
        """Write down an error that nobody expects."""
        self._journal.record("bug", error="".join(traceback.format_exception(error)))

    def ended(self, exit_code: int, **fields: object) -> None:
        """Write down how the run ended."""
        self._journal.record("ended", exit_code=exit_code, **fields)


def _subject(step: Step) -> str:
    return step.node or step.host


def _activity(step: Step) -> str:
    words = {
        "create-machine": "create the machine",
        "stage-artifacts": "push what it needs",
        "apply-server": "server",
        "apply-agent": "agent",
        "label-node": "labels",
        "remove-node": "drain it, and take it out of the cluster",
        "forget-node": "take it out of the cluster",
        "destroy-machine": "destroy the machine",
    }
    return words.get(step.action, step.action)


def _event(event: Event) -> dict[str, Any]:
    return {"event": event.kind, "message": event.message, "change": event.change, "host_seconds": event.seconds}
