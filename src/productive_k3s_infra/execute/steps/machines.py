"""Steps that a provider carries out. It is asked for one thing at a time; steps that wait together are one call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from productive_k3s.contract.events import Event, Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra._settle import settle
from productive_k3s_infra.errors import Interrupted, Pk3sError
from productive_k3s_infra.execute.model import Say, as_failure
from productive_k3s_infra.inventory.survey import Survey
from productive_k3s_infra.plan.step import (
    ChangeShared,
    CreateMachine,
    DestroyMachine,
    DestroyShared,
    MachineStep,
    StartMachine,
)
from productive_k3s_infra.providers.protocol import Provider

_Results = dict[str, Result]


@dataclass
class _Batch:
    """Steps that one call of the provider carries out."""

    members: list[tuple[MachineStep, Say]] = field(default_factory=list)
    run: asyncio.Task[_Results] | None = None

    def hear(self, machine: str, what: str) -> None:
        """Hand what the provider says to the step that it is about; what all need is said by the first one."""
        say = next((say for step, say in self.members if step.host == machine), self.members[0][1])
        say(Event("note", what, 0.0))

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines that it is about, without what is shared."""
        of_one = CreateMachine | StartMachine | DestroyMachine
        return tuple(step.host for step, _ in self.members if isinstance(step, of_one))


class ProviderCalls:
    """The provider's side of steps.

    A call that is cancelled is waited for: what its threads do is of the cluster whose lock the run holds.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._making: _Batch | None = None
        self._destroying: _Batch | None = None
        self._one_at_a_time = asyncio.Lock()
        self._made: Survey | None = None

    def take_survey(self) -> Survey | None:
        """Return, once, what the provider saw at the end of the last call, None if machines went since or none was."""
        survey, self._made = self._made, None
        return survey

    async def make(self, step: ChangeShared | CreateMachine | StartMachine, say: Say) -> Result:
        """Make or start a machine, or change what is shared. Done is what runs afterwards."""
        batch = self._making = self._making or _Batch()
        batch.members.append((step, say))
        batch.run = batch.run or asyncio.create_task(self._make(batch), name="create machines")
        return (await _of(batch.run))[step.id]

    async def destroy(self, step: DestroyMachine | DestroyShared, say: Say) -> Result:
        """Destroy a machine whose node has left before, or with what is shared all that is left of the cluster."""
        batch = self._destroying = self._destroying or _Batch()
        batch.members.append((step, say))
        batch.run = batch.run or asyncio.create_task(self._destroy(batch), name="destroy machines")
        return (await _of(batch.run))[step.id]

    async def _make(self, batch: _Batch) -> _Results:
        async with self._one_at_a_time:
            self._making = None
            failure = None
            try:
                survey = self._made = await self._provider.create(batch.machines, batch.hear)
            except Interrupted:
                raise
            except Pk3sError as error:
                failure, survey = as_failure(error), await self._survey_after(error)
        return {step.id: _made(step, survey, failure) for step, _ in batch.members}

    async def _destroy(self, batch: _Batch) -> _Results:
        async with self._one_at_a_time:
            self._destroying = self._made = None
            try:
                if any(isinstance(step, DestroyShared) for step, _ in batch.members):
                    await self._provider.destroy_all(batch.hear)
                else:
                    await self._provider.destroy(batch.machines, batch.hear)
            except Interrupted:
                raise
            except Pk3sError as error:
                failure, survey = as_failure(error), await self._survey_after(error)
                return {step.id: _destroyed(step, survey, failure) for step, _ in batch.members}
        return {step.id: Result("done") for step, _ in batch.members}

    async def _survey_after(self, error: Pk3sError) -> Survey:
        """Look what a call that failed came to; where that fails too, its first failure stands for all."""
        try:
            return await self._provider.survey()
        except Pk3sError:
            raise error from None


async def _of(run: asyncio.Task[_Results]) -> _Results:
    try:
        return await asyncio.shield(run)
    except asyncio.CancelledError:
        run.cancel()
        if await settle((run,)) and not run.cancelled() and isinstance(error := run.exception(), Interrupted):
            raise error from None
        raise


def _made(step: MachineStep, survey: Survey, failure: Failure | None) -> Result:
    machine = survey.machine(step.host)
    if isinstance(step, ChangeShared):
        return Result("failed", failures=(failure,)) if failure is not None else Result("done")
    if machine is not None and machine.state == "running":
        return Result("done")
    seen = "it is not there" if machine is None else f"it is {machine.state}; {machine.evidence}".rstrip("; ")
    remedy = "check what the provider reports about it, then run pk3s apply again: it continues from the current state"
    lacking = Failure("machine.not-running", "the provider succeeded, but the machine is not running", seen, remedy)
    return Result("failed", failures=(failure or lacking,))


def _destroyed(step: MachineStep, survey: Survey, failure: Failure) -> Result:
    """A machine that is gone is gone, whatever happened to the others."""
    machine = survey.machine(step.host)
    gone = isinstance(step, DestroyMachine) and (machine is None or machine.state == "missing")
    return Result("done") if gone else Result("failed", failures=(failure,))
