"""What a provider is asked for steps on machines: one call at a time, one call for those that wait together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.execute.steps.perform import performing
from productive_k3s_infra.inventory.survey import MachineState, Survey, SurveyedMachine
from productive_k3s_infra.plan.step import (
    ChangeShared,
    CreateMachine,
    DestroyMachine,
    DestroyShared,
    MachineStep,
    StartMachine,
)
from productive_k3s_infra.providers.protocol import OnProgress
from productive_k3s_infra.providers.thread import in_thread
from static.fleet_doubles import Ears, FakeFleet, FakeProvider, tools


def create(name: str, *needs: str) -> CreateMachine:
    return CreateMachine(id=f"{name}/create-machine", host=name, reason="", impact="change", needs=needs)


def destroy(name: str) -> DestroyMachine:
    return DestroyMachine(id=f"{name}/destroy-machine", host=name, reason="", impact="disrupt")


SHARED = ChangeShared(id="edge/shared-resources", host="edge", reason="", impact="change")
START = StartMachine(id="b/start-machine", host="b", reason="", impact="change")


def survey(**states: MachineState) -> Survey:
    return Survey(True, tuple(SurveyedMachine(name, state) for name, state in states.items()), shared=("a network",))


async def run(provider: FakeProvider, steps: Sequence[MachineStep]) -> tuple[tuple[StepResult, ...], list[str]]:
    ears = Ears()
    return await execute(steps, performing(tools(FakeFleet({}), provider)), ears), ears.heard


def ends(results: Sequence[StepResult]) -> dict[str, str]:
    return {result.step.id: result.outcome for result in results}


async def test_machines_that_wait_together_are_made_in_one_call_and_each_has_events_and_a_result() -> None:
    provider = FakeProvider(survey(a="missing", b="stopped"))
    results, heard = await run(provider, [SHARED, create("a"), START])
    assert provider.calls == [("create", ("a", "b"))]
    assert ends(results) == dict.fromkeys(("edge/shared-resources", "a/create-machine", "b/start-machine"), "done")
    assert "a/create-machine: create goes on" in heard
    assert "b/start-machine: create goes on" in heard


async def test_more_machines_than_hosts_at_once_are_still_one_call() -> None:
    """What the provider bounds itself is not bounded twice: two calls would be two plans of the provider."""
    names = [f"m{number}" for number in range(40)]
    provider = FakeProvider(survey(**dict.fromkeys(names, "missing")))
    await run(provider, [create(name) for name in names])
    assert provider.calls == [("create", tuple(names))]


async def test_a_machine_that_is_made_anew_is_made_after_it_went_and_others_meanwhile_or_before() -> None:
    provider = FakeProvider(survey(a="running", b="missing"))
    results, _ = await run(provider, [destroy("a"), create("a", "a/destroy-machine"), create("b")])
    assert set(ends(results).values()) == {"done"}
    assert sorted(provider.calls) == [("create", ("a",)), ("create", ("b",)), ("destroy", ("a",))]
    assert provider.calls.index(("destroy", ("a",))) < provider.calls.index(("create", ("a",)))


class Lazy(FakeProvider):
    """Ends well, and its machine does not run: it crashed right after its start."""

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        await super().create(names, on_progress)
        crashed = SurveyedMachine("b", "stopped", evidence="exit 255")
        return replace(self.seen, machines=tuple(crashed if one.name == "b" else one for one in self.seen.machines))


async def test_a_machine_that_does_not_run_after_its_creation_is_a_failure_that_says_so() -> None:
    results, _ = await run(Lazy(survey(a="missing", b="missing")), [create("a"), create("b")])
    assert ends(results) == {"a/create-machine": "done", "b/create-machine": "failed"}
    failure = results[1].failure
    assert failure is not None
    assert failure.code == "machine.not-running"
    assert failure.evidence == "it is stopped; exit 255"


async def test_what_was_made_before_the_provider_failed_is_done() -> None:
    provider = FakeProvider(survey(a="running", b="missing"), fails=ProviderFailed("no room", where="b"))
    results, _ = await run(provider, [create("a"), create("b")])
    assert ends(results) == {"a/create-machine": "done", "b/create-machine": "failed"}
    assert results[1].failure is not None
    assert results[1].failure.what == "no room"


async def test_a_provider_that_cannot_even_be_asked_fails_all_with_its_first_error() -> None:
    class Gone(FakeProvider):
        async def survey(self) -> Survey:
            raise ProviderFailed("cannot be asked")

    provider = Gone(survey(a="missing", b="missing"), fails=ProviderFailed("no room"))
    results, _ = await run(provider, [create("a"), create("b")])
    assert [result.failure and result.failure.what for result in results] == ["no room", "no room"]


async def test_machines_and_what_they_share_go_in_one_call() -> None:
    shared = DestroyShared(id="edge/destroy-shared", host="edge", reason="", impact="disrupt")
    provider = FakeProvider(survey(a="running", b="stopped"))
    results, _ = await run(provider, [destroy("a"), destroy("b"), shared])
    assert provider.calls == [("destroy_all", ())]
    assert set(ends(results).values()) == {"done"}


async def test_a_machine_that_is_gone_is_gone_though_another_could_not_be_destroyed() -> None:
    provider = FakeProvider(survey(a="missing", b="running"), fails=ProviderFailed("held"))
    results, _ = await run(provider, [destroy("a"), destroy("b")])
    assert ends(results) == {"a/destroy-machine": "done", "b/destroy-machine": "failed"}


class Threaded(FakeProvider):
    """Makes machines in a thread that the test holds."""

    def __init__(self, seen: Survey) -> None:
        super().__init__(seen)
        self.begun, self.may_end = asyncio.Event(), threading.Event()
        self.ended = False

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        await in_thread(self._work_in_thread, asyncio.get_running_loop())
        return await super().create(names, on_progress)

    def _work_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self.begun.set)
        assert self.may_end.wait(30)
        self.ended = True


async def test_a_run_that_is_stopped_ends_after_the_provider_s_thread_and_says_so_before() -> None:
    """The cluster's lock is freed when the run ends: nobody may come in while machines are still made."""
    provider, ears = Threaded(survey(a="missing")), Ears()
    steps = [create("a"), create("b", "a/create-machine")]
    work = asyncio.ensure_future(execute(steps, performing(tools(FakeFleet({}), provider)), ears))
    await asyncio.wait_for(provider.begun.wait(), 30)
    for _ in range(3):  # said once, and again by somebody without patience
        work.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not work.done()
    assert ears.heard[-1] == "stopping a/create-machine"
    provider.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 30)
    assert provider.ended
    assert ears.heard[-1] == "stopped a/create-machine"
    assert ("create", ("a",)) not in provider.calls


async def test_a_thread_that_never_ends_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("productive_k3s_infra.providers.thread.THREAD_SECONDS", 0.01)
    provider, ears = Threaded(survey(a="missing")), Ears()
    work = asyncio.ensure_future(execute([create("a")], performing(tools(FakeFleet({}), provider)), ears))
    await asyncio.wait_for(provider.begun.wait(), 30)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 30)
    assert ears.ends[-1].outcome == "failed"
    assert ears.ends[-1].failure is not None
    assert ears.ends[-1].failure.code == "run.still-working"
    provider.may_end.set()
