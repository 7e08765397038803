"""PURE: what a step comes to, with one mark for each kind."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from productive_k3s.contract.change import Change
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import (
    ApplyAgent,
    ApplyServer,
    CreateMachine,
    DestroyMachine,
    DestroyShared,
    DrainNode,
    ForgetNode,
    RemoveNode,
    Step,
    UninstallHost,
)

Mark = Literal["create", "change", "restart", "drain", "remove", "destroy"]

MARKS: dict[Mark, str] = {"create": "+", "change": "~", "restart": "!", "drain": "v", "remove": "-", "destroy": "x"}
"""In the order in which they are counted. ASCII: a plan is read in logs and mails too."""

_DESTROYING = (DestroyMachine, DestroyShared, UninstallHost)
_TAKING = {"remove-file", "remove-files", "remove-hosts"}
_NEW = {"install-binary", "start-unit"}


def mark_of(step: Step) -> Mark:
    """Return what a step comes to. A machine or host is created when K3s comes to it, `restart` interrupts what runs.

    Taking K3s off a host counts as destroying: what lies on local volumes is lost, as with a machine.
    """
    if isinstance(step, _DESTROYING):
        return "destroy"
    if isinstance(step, RemoveNode | ForgetNode):
        return "remove"
    if isinstance(step, DrainNode):
        return "drain"
    if step.impact == "disrupt":
        return "restart"
    if isinstance(step, CreateMachine):
        return "create"
    if isinstance(step, ApplyServer | ApplyAgent) and _installs(step):
        return "create"
    return "change"


def _installs(step: ApplyServer | ApplyAgent) -> bool:
    joins = isinstance(step, ApplyAgent) and step.token is not None
    return joins or {change.action for change in step.changes} >= _NEW


def mark_of_change(step: Step, change: Change) -> Mark | None:
    """Return what one change on a host comes to, None for one that only looks or waits."""
    if change.impact == "read":
        return None
    if change.impact == "disrupt":
        return "restart"
    if change.action in _TAKING:
        return "remove"
    return "create" if mark_of(step) == "create" else "change"


def counts(plan: Plan) -> str:
    """Return how many steps there are, and of which kind: `3 steps for edge: + 2 create, ! 1 restart`."""
    found = Counter(mark_of(step) for step in plan.steps)
    parts = ", ".join(f"{sign} {found[mark]} {mark}" for mark, sign in MARKS.items() if found[mark])
    return f"{counted(len(plan.steps), 'step')} for {plan.cluster}: {parts}"


def counted(number: int, word: str) -> str:
    """Return a number with its word: `1 step`, `2 steps`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
