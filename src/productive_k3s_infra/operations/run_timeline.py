"""PURE: what a journal says of its run: the steps in time, what each waited for, and what took so long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from productive_k3s_infra.workspace.journal import JournalEntry


@dataclass(frozen=True)
class RunStep:
    """One step. Times are seconds since the run began; `waited_for` is the step whose end let this one begin.

    `outcome` is `unknown` where the journal ends before the step does. `failure` is its code.
    """

    id: str
    host: str
    outcome: str
    began: float
    seconds: float
    waited_for: str = ""
    is_critical: bool = False
    failure: str = ""

    @property
    def ended(self) -> float:
        """When it ended."""
        return self.began + self.seconds


@dataclass(frozen=True)
class Run:
    """One run. `started` is in UTC; `exit_code` None: the journal does not say how it ended.

    `steps` are in the order in which they began, skipped ones last. `looks` are (what, seconds).
    """

    id: str
    verb: str
    cluster: str
    started: str
    seconds: float
    exit_code: int | None
    steps: tuple[RunStep, ...] = ()
    looks: tuple[tuple[str, float], ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def critical_path(self) -> tuple[RunStep, ...]:
        """The steps that followed each other, the last of which ended last: shorter ones make a shorter run."""
        return tuple(sorted((step for step in self.steps if step.is_critical), key=lambda step: step.began))


def run_of(name: str, entries: Sequence[JournalEntry]) -> Run:
    """Put the entries of one journal together. A journal that a kill cut is told as far as it goes."""
    first = entries[0].fields if entries else {}
    ended = [entry.fields.get("exit_code") for entry in entries if entry.kind == "ended"]
    return Run(
        name,
        str(first.get("verb", "")),
        str(first.get("cluster", "")),
        entries[0].time if entries else "",
        entries[-1].seconds if entries else 0.0,
        ended[-1] if ended else None,
        _steps(entries),
        tuple((str(e.fields["what"]), float(e.fields["seconds"])) for e in entries if e.kind == "looked"),
        tuple(str(e.fields["failure"]["code"]) for e in entries if e.kind == "failed"),
    )


def _steps(entries: Sequence[JournalEntry]) -> tuple[RunStep, ...]:
    began = {str(e.fields["step"]): e for e in entries if e.kind == "step-started"}
    ended = {str(e.fields["step"]): e for e in entries if e.kind == "step-ended"}
    last = entries[-1].seconds if entries else 0.0
    steps = [_step(name, entry, ended.get(name), last) for name, entry in began.items()]
    skipped = [_skipped(name, entry) for name, entry in ended.items() if name not in began]
    needs = _needs(entries)
    waiting = [replace(step, waited_for=_last_need(steps, needs.get(step.id, ()))) for step in steps]
    return (*_with_critical(waiting), *skipped)


def _step(name: str, began: JournalEntry, ended: JournalEntry | None, last: float) -> RunStep:
    host = str(began.fields.get("host", ""))
    if ended is None:
        return RunStep(name, host, "unknown", began.seconds, round(last - began.seconds, 3))
    seconds = round(ended.seconds - began.seconds, 3)
    return RunStep(name, host, str(ended.fields["outcome"]), began.seconds, seconds, failure=_failure(ended))


def _skipped(name: str, entry: JournalEntry) -> RunStep:
    because = str(entry.fields.get("skipped_for") or "")
    return RunStep(
        name, str(entry.fields.get("host", "")), "skipped", entry.seconds, 0.0, because, failure=_failure(entry)
    )


def _failure(entry: JournalEntry) -> str:
    failure = entry.fields.get("failure")
    return str(failure.get("code", "")) if isinstance(failure, Mapping) else ""


def _needs(entries: Iterable[JournalEntry]) -> dict[str, tuple[str, ...]]:
    """Return the needs of each step, from all plans of the run: one may be made anew on what is real."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        if entry.kind == "plan":
            steps: list[dict[str, Any]] = entry.fields["plan"].get("steps", [])
            found.update({str(step["id"]): tuple(step.get("needs") or ()) for step in steps})
    return found


def _last_need(steps: Sequence[RunStep], needs: Sequence[str]) -> str:
    before = [one for one in steps if one.id in needs and one.outcome != "unknown"]
    return max(before, key=lambda one: one.ended).id if before else ""


def _with_critical(steps: Sequence[RunStep]) -> tuple[RunStep, ...]:
    """Mark the steps from the one that ended last back over what each waited for."""
    by_id = {step.id: step for step in steps}
    path: set[str] = set()
    here = max(steps, key=lambda step: step.ended, default=None)
    while here is not None and here.id not in path:
        path.add(here.id)
        here = by_id.get(here.waited_for)
    return tuple(replace(step, is_critical=step.id in path) for step in steps)
