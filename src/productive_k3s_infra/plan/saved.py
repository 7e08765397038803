"""PURE: a plan that was saved to be applied later, and what separates it from what would be planned by then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from productive_k3s.contract.change import Change
from productive_k3s.contract.codec import encode
from productive_k3s_infra.plan.groups import without_name
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, StageArtifacts, Step

_ON_MACHINES = (StageArtifacts, ApplyServer, ApplyAgent)
# What follows from steps before it, and why: a run that goes on has others, and does the same.
_FOLLOWING = ("needs", "reason", "request", "token", "changes")


@dataclass(frozen=True)
class PlanOptions:
    """What the plan was asked for with; they hold when it is applied. `prune`: see `require_named`."""

    limit: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()
    prune: str | None = None
    new_cluster: bool = False


@dataclass(frozen=True)
class SavedPlan:
    """A plan, and what it was made of. It holds no secret.

    `made` is in UTC, `pk3s` the version and `program` the SHA-256 of the host program that planned, `cluster_file` the
    SHA-256 of the cluster file's text. `machines` has digests of the ids of the machines that are made anew, by name:
    another machine of that name was made since.
    """

    # For pydantic, which reads it: whatever else stands there is no part of a plan.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "arbitrary_types_allowed": True}

    made: str
    pk3s: str
    program: str
    cluster: str
    cluster_file: str
    options: PlanOptions
    plan: Plan
    machines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """What became of a step of the plan: the step as it is told, and in words how it differs."""

    step: Step
    words: str


def differences(saved: Plan, now: Plan, ran: Collection[str] = ()) -> tuple[Difference, ...]:
    """Return what keeps the saved plan from being carried out, now that this would be planned; () where nothing does.

    `ran` are the steps that were begun for this saved plan before. As long as there are none the two have to be the
    same. Then the rest has to be: a step that was begun may be done, or have less left. Once machines were made real
    facts stand in the place of assumed ones, and only what interrupts something has to have been in the saved plan.
    A plan without steps is never in the way.
    """
    if now.is_empty:
        return ()
    before, after = _by_id(saved), _by_id(now)
    has_machines = any(step.stage == "machines" and step.id in ran for step in saved.steps)
    gone = (
        Difference(step, f"is no longer needed; it was planned because: {step.reason}")
        for step in saved.steps
        if step.id not in after and step.id not in ran and not (has_machines and _is_assumed(step))
    )
    touched = {step.subject for step in saved.steps if step.id in ran}
    more = (
        _difference(before.get(step.id), step, ran, is_touched=step.subject in touched, has_machines=has_machines)
        for step in now.steps
    )
    return (*gone, *(one for one in more if one is not None))


def _difference(
    saved: Step | None, step: Step, ran: Collection[str], *, is_touched: bool, has_machines: bool
) -> Difference | None:
    if saved is None:
        harmless = step.impact != "disrupt" and (has_machines or is_touched)
        return None if harmless else Difference(step, f"is new: {step.reason}")
    if has_machines:
        same = _interruptions(step) <= _interruptions(saved)
    elif step.id in ran:
        same = _is_rest(saved, step)
    elif ran:
        same = _effects(saved) == _effects(step)
    else:
        same = encode(saved) == encode(step)
    return None if same else Difference(step, f"differs: {_how(saved, step)}")


def _by_id(plan: Plan) -> dict[str, Step]:
    return {step.id: step for step in plan.steps}


def _is_assumed(step: Step) -> bool:
    return isinstance(step, _ON_MACHINES) and step.assumed


def _interruptions(step: Step) -> set[str]:
    """What of a step interrupts something that runs: the ids of changes, and of the step itself."""
    itself = {step.id} if step.impact == "disrupt" else set()
    return itself | {change.id for change in step.changes if change.impact == "disrupt"}


def _is_rest(saved: Step, step: Step) -> bool:
    """Whether nothing is left to do that was not planned."""
    planned = {_effect(change) for change in saved.changes}
    left = {_effect(change) for change in step.changes if change.impact != "read"}
    return left <= planned and (step.impact != "disrupt" or saved.impact == "disrupt")


def _effects(step: Step) -> tuple[Any, ...]:
    told = {item.name: encode(getattr(step, item.name)) for item in fields(step) if item.name not in _FOLLOWING}
    return told, {_effect(change) for change in step.changes if change.impact != "read"}


def _effect(change: Change) -> tuple[Any, ...]:
    return change.id, change.action, change.target, change.impact, tuple(change.diff)


def _how(saved: Step, step: Step) -> str:
    before, after = ({change.id: change for change in one.changes} for one in (saved, step))
    found = [f"{name} is gone" for name in before if name not in after]
    for name, change in after.items():
        if name not in before:
            found.append(f"{name} is new ({change.reason})")
        elif encode(change) != encode(before[name]):
            other = "other lines" if change.diff != before[name].diff else change.reason
            found.append(f"{name} differs ({other})")
    if step.impact == "disrupt" and saved.impact != "disrupt":
        found.append("it now interrupts what is running")
    return ", ".join(found) or ", ".join(_of_itself(saved, step))


def _of_itself(saved: Step, step: Step) -> Iterator[str]:
    """Name what differs where no change of the host does."""
    if saved.reason != step.reason:
        yield step.reason
        return
    before, after = encode(saved), encode(step)
    for name in after:
        if after[name] != before[name]:
            inner = before[name] if isinstance(before[name], dict) else {}
            keys = [key for key, value in inner.items() if (after[name] or {}).get(key) != value]
            yield f"{name} ({', '.join(keys)})" if keys else name


def difference_lines(found: Iterable[Difference]) -> tuple[str, ...]:
    """Return what differs in words, each once with all of its hosts."""
    groups: dict[tuple[str, str], list[Difference]] = {}
    for one in found:
        groups.setdefault((one.step.action, without_name(one.words, one.step)), []).append(one)
    return tuple(
        f"{members[0].step.id} {members[0].words}"
        if len(members) == 1
        else f"{action} on {', '.join(one.step.subject for one in members)} {words}"
        for (action, words), members in groups.items()
    )


def still_replaced(saved: SavedPlan, done: Collection[str], machines: Mapping[str, str]) -> tuple[str, ...]:
    """Return the machines that are still to be made anew: not those that this plan did destroy, or that are others now.

    `machines` has the digests of the machines that are there now.
    """
    return tuple(
        name
        for name in saved.options.replacing
        if f"{name}/destroy-machine" not in done
        and machines.get(name, saved.machines.get(name)) == saved.machines.get(name)
    )
