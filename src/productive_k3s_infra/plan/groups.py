"""PURE: equal steps of many hosts as one, so that a plan is as long as what differs in it."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass

from productive_k3s.contract.change import Change
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

_ON_MACHINES = (StageArtifacts, ApplyServer, ApplyAgent)
_OF_PROVIDER = (ChangeShared, CreateMachine, StartMachine, DestroyShared)
_NODE = "<node>"


@dataclass(frozen=True)
class Group:
    """Steps that are equal but for the host, and for what its name stands in; `first` speaks for all."""

    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        """The step that speaks for all."""
        return self.steps[0]

    @property
    def title(self) -> str:
        """Its id where it is one; else the action that all of them are."""
        return self.first.id if len(self.steps) == 1 else self.first.action

    @property
    def reason(self) -> str:
        """Why, with what has to be known of it."""
        assumed = " (assumed: the machine does not exist yet)" if _assumed(self.first) else ""
        return f"{self._words(self.first.reason)}{assumed}"

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names of all, in the order of the plan."""
        return tuple(step.subject for step in self.steps)

    @property
    def resources(self) -> tuple[str, ...]:
        """What else the provider makes or changes for each of them."""
        step = self.first
        return tuple(self._words(text) for text in step.resources) if isinstance(step, _OF_PROVIDER) else ()

    @property
    def token(self) -> str:
        """The placeholder that each of them is given, '' for none."""
        return _token(self.first)

    def words_of(self, change: Change) -> str:
        """Return a change of all of them in words."""
        return self._words(f"{change.id}: {change.reason}")

    def diffs(self, index: int) -> dict[tuple[str, ...], list[str]]:
        """Return the differences that the change at this place makes, each with whose it is."""
        found: dict[tuple[str, ...], list[str]] = {}
        for step in self.steps:
            found.setdefault(step.changes[index].diff, []).append(step.subject)
        return found

    def needs(self) -> dict[tuple[str, ...], list[str]]:
        """Return what has to end well before, each with whose need it is."""
        found: dict[tuple[str, ...], list[str]] = {}
        for step in self.steps:
            if step.needs:
                found.setdefault(tuple(self._words(need, step) for need in step.needs), []).append(step.subject)
        return found

    def _words(self, text: str, step: Step | None = None) -> str:
        return text if len(self.steps) == 1 else without_name(text, step or self.first)


def groups_of(plan: Plan) -> tuple[Group, ...]:
    """Return the steps of a plan, equal ones together at the place of the first of them."""
    found: dict[Hashable, list[Step]] = {}
    for step in plan.steps:
        found.setdefault(_key(step), []).append(step)
    return tuple(Group(tuple(steps)) for steps in found.values())


def _key(step: Step) -> Hashable:
    changes = tuple((without_name(f"{one.id}: {one.reason}", step), one.action, one.impact) for one in step.changes)
    resources = tuple(without_name(text, step) for text in step.resources) if isinstance(step, _OF_PROVIDER) else ()
    reason = without_name(step.reason, step)
    return (step.action, reason, step.impact, _assumed(step), _token(step), resources, changes)


def _assumed(step: Step) -> bool:
    return isinstance(step, _ON_MACHINES) and step.assumed


def _token(step: Step) -> str:
    return str(step.token) if isinstance(step, ApplyAgent) and step.token is not None else ""


def without_name(text: str, step: Step) -> str:
    """Return the text with `<node>` for the name of what the step is about."""
    return re.sub(rf"(?<![\w.-]){re.escape(step.subject)}(?![\w-])", _NODE, text)
