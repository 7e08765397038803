"""Run a plan: each step as soon as what it needs has ended well. A failing host stops only what depends on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import get_args

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra._settle import settle
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.model import Listener, Say, StepOutcome, StepResult, as_failure
from productive_k3s_infra.execute.order import order_of
from productive_k3s_infra.plan.step import MachineStep, Step

Perform = Callable[[Step, Say], Awaitable[Result]]
HOSTS_AT_ONCE = 16
_GOOD = ("done", "unchanged")


async def execute(
    steps: Sequence[Step], perform: Perform, listener: Listener, *, hosts_at_once: int = HOSTS_AT_ONCE
) -> tuple[StepResult, ...]:
    """Run the steps and return what came of each, in the order of the plan.

    An expected failure is a result. A bug, of `perform` or of the listener, is raised as soon as it shows: the steps
    that run are told to stop and waited for, as when the run itself is cancelled. Raises InvalidPlan before anything
    runs. `hosts_at_once` bounds the steps on hosts; what a provider does is bounded by the provider.
    """
    return await _Run(steps, perform, listener, hosts_at_once).to_the_end()


class _Run:
    def __init__(self, steps: Sequence[Step], perform: Perform, listener: Listener, hosts_at_once: int) -> None:
        self._steps = {step.id: step for step in steps}
        self._order = order_of(steps)
        self._perform = perform
        self._listener = listener
        self._room = asyncio.Semaphore(hosts_at_once)
        self._running: dict[asyncio.Task[StepResult], Step] = {}
        self._results: dict[str, StepResult] = {}

    async def to_the_end(self) -> tuple[StepResult, ...]:
        try:
            while self._order.is_active():
                for name in sorted(self._order.get_ready(), key=list(self._steps).index):
                    self._begin(self._steps[name])
                if self._running:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                self._take()
        except BaseException:
            await self._stop()
            raise
        return tuple(self._results[name] for name in self._steps)

    def _begin(self, step: Step) -> None:
        """Start a step whose needs have all ended, or skip it if one of them did not end well."""
        blocking = next((need for need in step.needs if self._results[need].outcome != "done"), None)
        if blocking is None:
            self._running[asyncio.create_task(self._run(step), name=step.id)] = step
            return
        skipped = StepResult(step, "skipped", skipped_for=blocking)
        self._listener.step_ended(skipped)
        self._ended(skipped)

    def _take(self) -> None:
        for task in [task for task in self._running if task.done()]:
            del self._running[task]
            self._ended(task.result())

    def _ended(self, result: StepResult) -> None:
        self._results[result.step.id] = result
        self._order.done(result.step.id)

    async def _run(self, step: Step) -> StepResult:
        if isinstance(step, get_args(MachineStep)):
            return await self._run_now(step)
        async with self._room:
            return await self._run_now(step)

    async def _run_now(self, step: Step) -> StepResult:
        began = time.monotonic()

        def ended(outcome: StepOutcome, result: Result | None, failure: Failure | None) -> StepResult:
            found = StepResult(step, outcome, time.monotonic() - began, result, failure)
            self._listener.step_ended(found)
            return found

        self._listener.step_started(step)
        try:
            result = await self._perform(step, lambda event: self._listener.step_progressed(step, event))
        except Pk3sError as error:
            return ended("failed", None, as_failure(error))
        except asyncio.CancelledError:
            ended("stopped", None, None)
            raise
        failure = _failure(result)
        return ended("failed" if failure else "done", result, failure)

    async def _stop(self) -> None:
        """Tell the steps that run to stop, and wait for them: each sees to its own host.

        Who says it a second time does not want to wait for a host; what works in this process is waited for still.
        """
        try:
            self._listener.stopping(tuple(step for task, step in self._running.items() if not task.done()))
        finally:
            for task in self._running:
                task.cancel()
            await settle(self._running, tell_again=True)
            # What else went wrong is known by its step's event; asyncio wants to see it taken.
            _ = [task.exception() for task in self._running if task.done() and not task.cancelled()]


def _failure(result: Result) -> Failure | None:
    if result.outcome in _GOOD:
        return None
    if result.failures:
        return result.failures[0]
    return Failure("host.no-reason", f"the host ended as {result.outcome} and gave no reason")
