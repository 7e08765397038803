"""PURE: what a rule of a stage is, and what the rules before it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from productive_k3s_infra.plan.model import Plan, Refusal, Unchanged, Unreached
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.step import (
    ApplyAgent,
    ApplyServer,
    CreateMachine,
    DestroyMachine,
    ForgetNode,
    LabelNode,
    StageName,
    StartMachine,
    Step,
)


@dataclass(frozen=True)
class Note:
    """A sentence for whoever reads the plan. `hosts` are those that it is about, () for all."""

    text: str
    hosts: tuple[str, ...] = ()


Item = Step | Unchanged | Refusal | Unreached | Note


@dataclass(frozen=True)
class Draft:
    """What was found so far. A rule sees the steps before its own, to need them; it never changes one."""

    steps: tuple[Step, ...] = ()
    items: tuple[Unchanged | Refusal | Unreached | Note, ...] = ()

    def plus(self, stage: StageName, found: Iterable[Item]) -> Draft:
        """Return the draft with what a rule of this stage found."""
        steps, items = list(self.steps), list(self.items)
        for item in found:
            if isinstance(item, Unchanged | Refusal | Unreached | Note):
                items.append(item)
            else:
                steps.append(replace(item, stage=stage))
        return Draft(tuple(steps), tuple(items))

    def plan(self, cluster: str) -> Plan:
        """Return the plan."""
        return Plan(
            cluster,
            self.steps,
            unchanged=tuple(item for item in self.items if isinstance(item, Unchanged)),
            refusals=tuple(item for item in self.items if isinstance(item, Refusal)),
            notes=tuple(item.text for item in self.items if isinstance(item, Note)),
            unreached=tuple(item for item in self.items if isinstance(item, Unreached)),
        )

    def making(self, host: str) -> tuple[str, ...]:
        """Return the ids of the steps after which the host's machine runs."""
        return tuple(
            step.id for step in self.steps if isinstance(step, CreateMachine | StartMachine) and step.host == host
        )

    def destroying(self, host: str) -> tuple[str, ...]:
        """Return the ids of the steps after which a machine of that name is gone."""
        return tuple(step.id for step in self.steps if isinstance(step, DestroyMachine) and step.host == host)

    def forgetting(self, node: str) -> tuple[str, ...]:
        """Return the ids of the steps after which the cluster does not know the node any more."""
        return tuple(step.id for step in self.steps if isinstance(step, ForgetNode) and step.node == node)

    def labelling(self, node: str) -> tuple[str, ...]:
        """Return the ids of the steps after which the node's labels and taints are what the file says."""
        return tuple(step.id for step in self.steps if isinstance(step, LabelNode) and step.node == node)

    @property
    def applying(self) -> tuple[str, ...]:
        """The ids of the steps that install or change K3s on a host."""
        return tuple(step.id for step in self.steps if isinstance(step, ApplyServer | ApplyAgent))


Rule = Callable[[Situation, Draft], Iterator[Item]]


@dataclass(frozen=True)
class Stage:
    """A part of the procedure: all of its rules, in order, and how the situation will be once its steps ended well."""

    name: StageName
    rules: tuple[Rule, ...]
    afterwards: Callable[[Situation], Situation] = lambda situation: situation


def plan_by(stages: Iterable[Stage], situation: Situation) -> Plan:
    """Return what the rules of these stages find, one after the other: nothing comes into a plan in another way."""
    return draft_by(stages, situation).plan(situation.spec.name)


def draft_by(stages: Iterable[Stage], situation: Situation) -> Draft:
    """Return all that the rules of these stages find, before it is a plan."""
    draft = Draft()
    for stage in stages:
        for rule in stage.rules:
            draft = draft.plus(stage.name, rule(situation, draft))
        situation = stage.afterwards(situation)
    return draft
