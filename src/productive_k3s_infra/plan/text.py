"""PURE: a plan as lines of text, for people and for golden files."""

from __future__ import annotations

from collections.abc import Iterator

from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import (
    ApplyAgent,
    ApplyServer,
    ChangeShared,
    CreateMachine,
    DestroyShared,
    StageArtifacts,
    StartMachine,
    Step,
)

_MARK = {"read": " ", "change": "+", "disrupt": "!"}
_ON_MACHINES = (StageArtifacts, ApplyServer, ApplyAgent)
_OF_PROVIDER = (ChangeShared, CreateMachine, StartMachine, DestroyShared)


def plan_lines(plan: Plan, *, diffs: bool = True, refusals: bool = True) -> Iterator[str]:
    """Show each step with its reason, impact and line diff, and why nothing is done where nothing is.

    Without `refusals` they are left out, for whoever has shown them with other findings.
    """
    yield from body_lines(plan, diffs=diffs, refusals=refusals)
    yield summary(plan)
    yield from limit_lines(plan)


def body_lines(plan: Plan, *, diffs: bool = True, refusals: bool = True) -> Iterator[str]:
    """Show all that `plan_lines` does but the summary."""
    for refusal in plan.refusals if refusals else ():
        yield f"refused  {refusal.host}: {refusal.failure.what} [{refusal.failure.code}]"
        if refusal.failure.evidence:
            yield f"         seen: {refusal.failure.evidence}"
        if refusal.failure.remedy:
            yield f"         next: {refusal.failure.remedy}"
    for step in plan.steps:
        yield from _step_lines(step, diffs=diffs)
    for unchanged in plan.unchanged:
        yield f"  {unchanged.host}: nothing to do, {unchanged.reason}"
    yield from unreached_lines(plan)
    yield from note_lines(plan)


def unreached_lines(plan: Plan) -> Iterator[str]:
    """Show the hosts that nothing was planned for, as they were not reached."""
    return (f"? {one.host}: not planned, {one.failure.what} [{one.failure.code}]" for one in plan.unreached)


def limit_lines(plan: Plan) -> Iterator[str]:
    """Show, where the plan is of some nodes only, which ones and what was left out."""
    if plan.limit:
        names = ", ".join(plan.limit)
        yield f"Only {names} (--limit): other nodes, machines and the full validation were left out."


def note_lines(plan: Plan) -> Iterator[str]:
    """Show the notes."""
    return (f"note: {note}" for note in plan.notes)


def _step_lines(step: Step, *, diffs: bool) -> Iterator[str]:
    assumed = " (assumed: the machine does not exist yet)" if isinstance(step, _ON_MACHINES) and step.assumed else ""
    yield f"{_MARK[step.impact]} {step.id}: {step.reason}{assumed}"
    if step.needs:
        yield f"      after {', '.join(step.needs)}"
    if isinstance(step, _OF_PROVIDER):
        yield from (f"    {_MARK[step.impact]} {resource}" for resource in step.resources)
    if isinstance(step, ApplyAgent) and step.token is not None:
        yield f"      with {step.token}"
    for change in step.changes:
        yield f"    {_MARK[change.impact]} {change.id}: {change.reason}"
        if diffs:
            yield from (f"        {line}" for line in change.diff)


def summary(plan: Plan) -> str:
    """Return the plan in one line, which is true of all hosts: those that were not reached are named."""
    if plan.refusals:
        return f"Refused: vetoes of hosts: {len(plan.refusals)}; nothing was changed."
    names = ", ".join(item.host for item in plan.unreached)
    nothing = f"Nothing to change on {', '.join(plan.limit)}." if plan.limit else "Nothing to change."
    if plan.is_empty:
        return f"Nothing to change on the hosts that answered; not reached: {names}." if names else nothing
    disruptive = len(plan.disruptive)
    tail = f", {disruptive} of them interrupt something that runs (!)" if disruptive else ""
    return f"{counted(plan)}{tail}{f'; not reached: {names}' if names else ''}."


def counted(plan: Plan) -> str:
    """Return how many steps there are, in words."""
    return "1 step" if len(plan.steps) == 1 else f"{len(plan.steps)} steps"
