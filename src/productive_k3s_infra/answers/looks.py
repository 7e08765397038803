"""PURE: the documents of the verbs that look at what is here: versions, pages, journals, logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from productive_k3s_infra.answers.model import DESCRIBED, Answer


@dataclass(frozen=True, kw_only=True)
class VersionAnswer(Answer):
    """`pk3s version`: versions of this installation."""

    pk3s: str
    """Its own."""
    k3s: str
    """The newest release of K3s whose flags are known."""
    python: str
    """Of the Python that runs it."""
    program: str
    """The SHA-256 of the host program, as it is sent to hosts."""


@dataclass(frozen=True, kw_only=True)
class ExplainedPart:
    """One row of a page."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    page: str
    """The page, as `pk3s explain` takes it."""
    section: str
    """The section that the row stands in."""
    names: tuple[str, ...]
    """The codes or checks that it is about."""
    cells: tuple[tuple[str, str], ...]
    """Pairs: a column's title, and what stands there."""


@dataclass(frozen=True, kw_only=True)
class ExplainAnswer(Answer):
    """`pk3s explain`: what is known of a failure code, a check or a page."""

    name: str
    """What was asked for."""
    entries: tuple[ExplainedPart, ...]
    """The rows that are about it; empty for a page."""
    text: str
    """The whole text of a page; empty for a code or check."""


@dataclass(frozen=True, kw_only=True)
class LogsAnswer(Answer):
    """`pk3s logs`: what K3s said last on a node's host; secrets are taken out."""

    node: str
    """The node."""
    units: Mapping[str, str]
    """The lines of each unit, by its name."""
    notes: tuple[str, ...]
    """What could not be read."""


@dataclass(frozen=True, kw_only=True)
class RunStepPart:
    """One step of a run. Times are seconds since the run began."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    id: str
    """The step's id in the plan."""
    host: str
    """Where it happened."""
    outcome: str
    """How it ended; `unknown` where the journal ends before."""
    began: float
    """When it began."""
    seconds: float
    """How long it took."""
    waited_for: str
    """The step whose end let this one begin; empty where it waited for none."""
    is_critical: bool
    """Whether it is on the critical path."""
    failure: str
    """The code of its failure; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class RunPart:
    """One run, from its journal."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    id: str
    """As `pk3s runs` takes it."""
    verb: str
    """What was run; empty where the journal cannot be read."""
    cluster: str
    """The cluster's name."""
    started: str
    """When, in UTC."""
    seconds: float
    """How long it took."""
    exit_code: int | None
    """How it ended; null where the journal does not say it."""
    steps: tuple[RunStepPart, ...]
    """In the order in which they began, skipped ones last."""
    looks: tuple[tuple[str, float], ...]
    """Pairs: what was looked at, and for how many seconds."""
    failures: tuple[str, ...]
    """The codes of what failed."""
    critical_path: tuple[str, ...]
    """The ids of the steps that took longest one after another."""


@dataclass(frozen=True, kw_only=True)
class RunsAnswer(Answer):
    """`pk3s runs`: the runs of a cluster, or the one that was asked for."""

    runs: tuple[RunPart, ...]
    """The newest last."""
