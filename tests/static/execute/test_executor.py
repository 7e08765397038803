"""Order, parallelism and failures of a run, with handlers that the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import StepResult, failed
from productive_k3s_infra.plan.model import Step


def step(name: str, *needs: str) -> Step:
    return Step(name, "cluster", name, "apply-agent", "because", "change", needs)


class Ears:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def step_started(self, step: Step) -> None:
        self.heard.append(f"+{step.id}")

    def step_ended(self, result: StepResult) -> None:
        self.heard.append(f"{result.outcome} {result.step.id}")


async def run(
    steps: list[Step], handler: Callable[[Step], Awaitable[Result]], at_once: int = 16
) -> tuple[tuple[StepResult, ...], list[str]]:
    ears = Ears()
    return await execute(steps, {"apply-agent": handler}, ears, at_once=at_once), ears.heard


async def test_a_step_waits_for_what_it_needs_and_others_run_together() -> None:
    gate, both = asyncio.Event(), asyncio.Event()
    running: set[str] = set()

    async def handler(step: Step) -> Result:
        if step.id == "server":
            await gate.wait()
            return Result("done")
        running.add(step.id)
        if len(running) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 5)
        return Result("done")

    work = asyncio.ensure_future(run([step("server"), step("a", "server"), step("b", "server")], handler))
    await asyncio.sleep(0)
    assert running == set()
    gate.set()
    results, _ = await work
    assert [item.outcome for item in results] == ["done"] * 3


async def test_a_failure_skips_only_what_depends_on_it() -> None:
    async def handler(step: Step) -> Result:
        return Result("failed", failures=(Failure("x.y", "broken"),)) if step.id == "a" else Result("done")

    steps = [step("a"), step("a2", "a"), step("a3", "a2"), step("b"), step("b2", "b")]
    results, heard = await run(steps, handler)
    assert {item.step.id: item.outcome for item in results} == {
        "a": "failed",
        "a2": "skipped",
        "a3": "skipped",
        "b": "done",
        "b2": "done",
    }
    assert [item.skipped_for for item in results] == ["", "a", "a2", "", ""]
    assert [item.step.id for item in failed(results)] == ["a"]
    assert "+a2" not in heard


async def test_an_unreachable_host_is_a_failure_with_its_code() -> None:
    async def handler(step: Step) -> Result:
        raise HostUnreachable("no answer", where=step.host, evidence="timeout", remedy="look")

    results, _ = await run([step("a")], handler)
    assert results[0].failure == Failure("ssh.unreachable", "no answer", "timeout", "look", 5)


@pytest.mark.parametrize("outcome", ["refused", "locked", "interrupted", "planned"])
async def test_no_other_end_counts_as_done(outcome: str) -> None:
    async def handler(_: Step) -> Result:
        return Result(outcome)  # type: ignore[arg-type]

    results, _ = await run([step("a")], handler)
    assert results[0].outcome == "failed"
    assert results[0].failure is not None
    assert results[0].failure.code == "host.no-reason"


async def test_no_more_hosts_at_once_than_allowed() -> None:
    now, most = 0, 0

    async def handler(_: Step) -> Result:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return Result("done")

    await run([step(str(n)) for n in range(9)], handler, at_once=3)
    assert most == 3


async def test_a_bug_is_raised_after_the_others_have_ended() -> None:
    ended: list[str] = []

    async def handler(step: Step) -> Result:
        if step.id == "bug":
            raise ZeroDivisionError
        await asyncio.sleep(0)
        ended.append(step.id)
        return Result("done")

    with pytest.raises(ZeroDivisionError):
        await run([step("bug"), step("a")], handler)
    assert ended == ["a"]


async def test_cancelling_cancels_the_steps_that_run_and_waits_for_them() -> None:
    tidied: list[str] = []
    begun = asyncio.Event()

    async def handler(step: Step) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(step.id)
        return Result("done")

    work = asyncio.ensure_future(run([step("a"), step("b", "a")], handler))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert tidied == ["a"]
