"""Order, parallelism and failures of a run, with handlers that the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from productive_k3s.contract.events import Event, Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import Say, StepResult, failed
from productive_k3s_infra.execute.order import InvalidPlan
from productive_k3s_infra.plan.step import Step
from static.fleet_doubles import Ears
from static.plan.clusters import an_agent


def step(name: str, *needs: str) -> Step:
    return an_agent(id=name, host=name, needs=needs)


async def run(
    steps: list[Step], handler: Callable[[Step], Awaitable[Result]], at_once: int = 16, ears: Ears | None = None
) -> tuple[tuple[StepResult, ...], list[str]]:
    heard = ears or Ears()
    return await execute(steps, lambda step, _: handler(step), heard, hosts_at_once=at_once), heard.heard


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


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([step("a"), step("b", "x")], "b needs x"),
        ([step("a", "b"), step("b", "c"), step("c", "a"), step("d")], "need each other: "),
        ([step("a"), step("b"), step("a")], "same id: a"),
    ],
)
async def test_a_plan_that_cannot_be_run_to_its_end_is_refused_before_anything_runs(
    steps: list[Step], wrong: str
) -> None:
    async def handler(step: Step) -> Result:
        pytest.fail(f"{step.id} ran")

    ears = Ears()
    with pytest.raises(InvalidPlan, match=wrong):
        await asyncio.wait_for(run(steps, handler, ears=ears), 10)
    assert ears.heard == []


async def never(_: Step) -> Result:
    await asyncio.Event().wait()
    return Result("done")


async def test_a_bug_ends_the_run_at_once_and_in_order() -> None:
    """What runs is told to stop and waited for; what has not begun never does."""
    ears = Ears()

    async def handler(step: Step) -> Result:
        return 1 // 0 if step.id == "bug" else await never(step)  # type: ignore[return-value]

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(run([step("a"), step("bug"), step("a2", "a")], handler, ears=ears), 10)
    assert ears.heard == ["+a", "+bug", "stopping a", "stopped a"]


@pytest.mark.parametrize("where", ["step_started", "step_progressed", "step_ended"])
async def test_a_listener_s_bug_does_not_wait_for_the_end(where: str) -> None:
    ears = Ears()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    setattr(ears, where, broken)

    async def handler(step: Step, say: Say) -> Result:
        if step.id == "a":
            say(Event("note", "at work", 0.0))
            return Result("done")
        return await never(step)

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(execute([step("b"), step("a")], handler, ears), 10)


async def test_a_step_says_what_it_is_at() -> None:
    async def handler(_: Step, say: Say) -> Result:
        say(Event("waiting", "for its node", 1.0))
        return Result("done")

    ears = Ears()
    await execute([step("a")], handler, ears)
    assert ears.heard == ["+a", "a: for its node", "done a"]


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

    ears = Ears()
    work = asyncio.ensure_future(run([step("a"), step("b", "a")], handler, ears=ears))
    await begun.wait()
    work.cancel()
    await asyncio.sleep(0)
    assert ears.heard == ["+a", "stopping a"], "said when it begins, not when it is over"
    with pytest.raises(asyncio.CancelledError):
        await work
    assert tidied == ["a"]
    assert ears.heard[-1] == "stopped a"
