"""PURE: a plan as a value that can be printed, compared and agreed to. It holds no secret and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from productive_k3s.changes import Change, Impact
from productive_k3s.failure import Failure
from productive_k3s.request import Request

Stage = Literal["machines", "cluster", "stack"]
StepAction = Literal[
    "create-machine",
    "destroy-machine",
    "stage-artifacts",
    "apply-server",
    "apply-agent",
    "label-node",
    "remove-node",
]


@dataclass(frozen=True)
class Placeholder:
    """A value that a later step gets from an earlier one; printed as `<agent token of server-1>`."""

    name: str
    of: str

    def __str__(self) -> str:
        return f"<{self.name} of {self.of}>"


@dataclass(frozen=True)
class Step:
    """One call of the contract on one host (or one machine of a provider). `id` is `<node>/<action>`.

    `needs` are ids of steps that must have ended well. `request` is what the host is asked; secrets in it are
    placeholders by absence (`join.token` is None), named in `placeholders` and filled by the executor just before
    sending. `assumed` marks steps planned on facts of machines that do not exist yet.
    """

    id: str
    stage: Stage
    host: str
    action: StepAction
    reason: str
    impact: Impact
    needs: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    placeholders: tuple[Placeholder, ...] = ()
    request: Request | None = None
    labels: dict[str, str | None] | None = None
    assumed: bool = False


@dataclass(frozen=True)
class Unchanged:
    """Why nothing is done on a host."""

    host: str
    reason: str


@dataclass(frozen=True)
class Refusal:
    """A veto found while planning: the plan cannot be executed."""

    host: str
    failure: Failure


@dataclass(frozen=True)
class Plan:
    """All steps that close the drift, in an order that respects `needs`."""

    cluster: str
    steps: tuple[Step, ...]
    unchanged: tuple[Unchanged, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    @property
    def disruptive(self) -> tuple[Step, ...]:
        """The steps that interrupt something that runs."""
        return tuple(step for step in self.steps if step.impact == "disrupt")
