"""PURE: a plan as lines of text, for people and for golden files."""

from __future__ import annotations

from collections.abc import Iterator

from productive_k3s_infra.plan.model import Plan, Step

_MARK = {"read": " ", "change": "+", "disrupt": "!"}


def plan_lines(plan: Plan, *, diffs: bool = True, refusals: bool = True) -> Iterator[str]:
    """Show each step with its reason, impact and line diff, and why nothing is done where nothing is.

    Without `refusals` they are left out, for whoever has shown them with other findings.
    """
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
    for note in plan.notes:
        yield f"note: {note}"
    yield _summary(plan)


def _step_lines(step: Step, *, diffs: bool) -> Iterator[str]:
    assumed = " (assumed: the machine does not exist yet)" if step.assumed else ""
    yield f"{_MARK[step.impact]} {step.id}: {step.reason}{assumed}"
    if step.needs:
        yield f"      after {', '.join(step.needs)}"
    yield from (f"    + {resource}" for resource in step.resources)
    for placeholder in step.placeholders:
        yield f"      with {placeholder}"
    for change in step.changes:
        yield f"    {_MARK[change.impact]} {change.id}: {change.reason}"
        if diffs:
            yield from (f"        {line}" for line in change.diff)


def _summary(plan: Plan) -> str:
    if plan.refusals:
        return f"Refused: vetoes of hosts: {len(plan.refusals)}; nothing was changed."
    if plan.is_empty:
        return "Nothing to change."
    disruptive = len(plan.disruptive)
    tail = f", {disruptive} of them interrupt something that runs (!)" if disruptive else ""
    count = "1 step" if len(plan.steps) == 1 else f"{len(plan.steps)} steps"
    return f"{count}{tail}."
