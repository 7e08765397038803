"""Run a plan: each step as soon as what it needs has ended well. A failing host stops only what depends on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.model import StepOutcome, StepResult
from productive_k3s_infra.plan.model import Step, StepAction

Handler = Callable[[Step], Awaitable[Result]]
_GOOD = ("done", "unchanged")


class Listener(Protocol):
    """Hears when steps begin and end."""

    def step_started(self, step: Step) -> None: ...

    def step_ended(self, result: StepResult) -> None: ...


async def execute(
    steps: Sequence[Step], handlers: Mapping[StepAction, Handler], listener: Listener, *, at_once: int = 16
) -> tuple[StepResult, ...]:
    """Run the steps and return what came of each, in the order of the plan.

    An expected failure is a result. A handler's bug is raised, after the steps that run have ended. Cancelling cancels
    the steps that run; each handler then sees to its own host.
    """
    runs: dict[str, asyncio.Task[StepResult]] = {}
    room = asyncio.Semaphore(at_once)

    async def run(step: Step) -> StepResult:
        for need in step.needs:
            before = runs.get(need)
            if before is not None and (await asyncio.shield(before)).outcome != "done":
                ended = StepResult(step, "skipped", skipped_for=need)
                listener.step_ended(ended)
                return ended
        async with room:
            return await _run_one(step, handlers[step.action], listener)

    for step in steps:
        runs[step.id] = asyncio.create_task(run(step), name=step.id)
    try:
        ended = await asyncio.gather(*runs.values(), return_exceptions=True)
    except asyncio.CancelledError:
        for task in runs.values():
            task.cancel()
        await asyncio.gather(*runs.values(), return_exceptions=True)
        raise
    return tuple(_require_result(item) for item in ended)


async def _run_one(step: Step, handler: Handler, listener: Listener) -> StepResult:
    listener.step_started(step)
    began = time.monotonic()
    try:
        result: Result | None = await handler(step)
        failure = _failure(result) if result is not None else None
    except Pk3sError as error:
        result, failure = None, as_failure(error)
    outcome: StepOutcome = "done" if failure is None else "failed"
    ended = StepResult(step, outcome, time.monotonic() - began, result, failure)
    listener.step_ended(ended)
    return ended


def _failure(result: Result) -> Failure | None:
    if result.outcome in _GOOD:
        return None
    if result.failures:
        return result.failures[0]
    return Failure("host.no-reason", f"the host ended as {result.outcome} and gave no reason")


def as_failure(error: Pk3sError) -> Failure:
    """Turn an error of the orchestration into a failure of its step."""
    return Failure(error.code, error.what, error.evidence, error.remedy, error.exit_code)


def _require_result(item: StepResult | BaseException) -> StepResult:
    if isinstance(item, BaseException):
        raise item
    return item
