"""A push ends by its size and its progress: a slow line is no mistake, a host that takes nothing any more is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s_infra.artifacts.push import STALL_SECONDS, push_seconds, while_taken
from productive_k3s_infra.errors import StepFailed

MB = 1_000_000


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _number in range(count):
        yield b"x" * MB


@pytest.mark.parametrize(
    ("hosts", "megabytes", "megabits_per_second"),
    [(1, 70, 1), (16, 270, 20), (3, 500, 2), (1, 1, 1), (10, 270, 10)],
)
def test_a_line_that_hosts_share_is_slow_and_no_mistake(hosts: int, megabytes: int, megabits_per_second: int) -> None:
    needed = hosts * megabytes * 8 / megabits_per_second
    assert push_seconds([megabytes * MB]) > needed


def test_every_file_counts() -> None:
    assert push_seconds([70 * MB, 200 * MB]) == push_seconds([270 * MB])
    assert push_seconds([]) > 0


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Awaitable[None]]:
    """Let time pass for the running loop, without waiting."""
    passed = 0.0

    async def let_pass(seconds: float) -> None:
        nonlocal passed
        loop = asyncio.get_running_loop()
        if not passed:
            now = loop.time
            monkeypatch.setattr(loop, "time", lambda: now() + passed, raising=False)
        passed += seconds
        for _turn in range(3):
            await asyncio.sleep(0)

    return let_pass


async def test_a_host_that_takes_its_time_is_waited_for(pass_seconds: Callable[[float], Awaitable[None]]) -> None:
    async def slowly(given: AsyncIterator[bytes]) -> Result:
        async for _chunk in given:
            await pass_seconds(STALL_SECONDS - 10)
        await pass_seconds(10 * STALL_SECONDS)  # verifying is not taking
        return Result("done")

    assert (await while_taken("agent-1", chunks(6), slowly)).outcome == "done"


async def test_a_host_that_takes_nothing_any_more_is_given_up(
    pass_seconds: Callable[[float], Awaitable[None]],
) -> None:
    ended: list[str] = []

    async def stuck(given: AsyncIterator[bytes]) -> Result:
        try:
            async for _chunk in given:
                if len(ended) == 3:
                    await pass_seconds(STALL_SECONDS + 10)
                    await asyncio.Event().wait()
                ended.append("taken")
        finally:
            ended.append("ended")
        return Result("done")

    with pytest.raises(StepFailed) as caught:
        await while_taken("agent-1", chunks(9), stuck)
    found = caught.value
    assert (found.code, found.where, found.evidence) == ("artifact.stalled", "agent-1", "it accepted 3 MB")
    assert ended == ["taken", "taken", "taken", "ended"]


async def test_what_the_call_says_of_time_is_the_call_s() -> None:
    async def late(_given: AsyncIterator[bytes]) -> Result:
        raise StepFailed("no result within 10 s", code="host.no-result")

    with pytest.raises(StepFailed, match="no result"):
        await while_taken("agent-1", chunks(1), late)


async def test_a_push_of_big_files_asks_for_the_time_that_they_take(tmp_path: Path) -> None:
    from productive_k3s_infra.execute.steps.stage_artifacts import stage_artifacts
    from static.execute.test_stage_artifacts import ARTIFACTS, STEP, tools
    from static.fleet_doubles import Call, FakeFleet

    files = {}
    for name, artifact in ARTIFACTS.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(200 * MB)
        files[artifact.sha256] = tmp_path / name
    calls: list[Call] = []

    def staged(call: Call) -> Result:
        calls.append(call)
        return Result("done")

    await stage_artifacts(tools(FakeFleet({STEP.host: staged}), local_files=files), STEP, lambda _: None)
    assert [call.deadline_seconds for call in calls] == [push_seconds([400 * MB])]
