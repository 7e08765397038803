"""PURE: rules of the stage of the machines: what a provider makes before hosts can be asked anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from productive_k3s.contract.failure import Failure
from productive_k3s_infra.inventory.survey import Survey, SurveyedMachine
from productive_k3s_infra.plan.model import Refusal
from productive_k3s_infra.plan.replacement import replaced
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.rule import Draft, Item, Note
from productive_k3s_infra.plan.step import ChangeShared, CreateMachine, StartMachine

_WHY = {"missing": "the machine does not exist", "broken": "the machine was not completed"}
_STOPPED = "the machine is not running; its disk is kept"
_WORK = ("missing", "broken", "stopped")
_DESTROYING = ("delete", "replace")


def coming(situation: Situation) -> Survey:
    """Return the survey as it will be once the machines that are made anew are gone."""
    names = replaced(situation)
    machines = (
        replace(machine, state="missing", location=None, differences=(), evidence="")
        if machine.name in names
        else machine
        for machine in situation.survey.machines
    )
    return replace(situation.survey, machines=tuple(machines))


def shared_resources(situation: Situation, _: Draft) -> Iterator[Item]:
    """What machines share is changed in the call that makes them: the provider knows in which order."""
    survey = coming(situation)
    names = {machine.name for machine in _to_make(survey)}
    shared = tuple(str(resource) for resource in survey.resources if resource.machine not in names)
    if shared and survey.owns_machines:
        cluster = situation.spec.name
        why = "the resources that the machines share do not match the file"
        yield ChangeShared(
            id=f"{cluster}/shared-resources", host=cluster, reason=why, impact="change", resources=shared
        )


def missing_machines(situation: Situation, draft: Draft) -> Iterator[Item]:
    """Machines are made or started, in file order. Nothing is destroyed here that is not made anew."""
    survey = coming(situation)
    for machine in _to_make(survey):
        own = tuple(str(resource) for resource in survey.resources if resource.machine == machine.name)
        needs = draft.destroying(machine.name)
        if machine.state == "stopped":
            yield StartMachine(
                id=f"{machine.name}/start-machine",
                host=machine.name,
                reason=_STOPPED,
                impact="change",
                needs=needs,
                resources=own,
            )
        else:
            yield CreateMachine(
                id=f"{machine.name}/create-machine",
                host=machine.name,
                reason=_WHY[machine.state],
                impact="change",
                needs=needs,
                resources=own,
            )


def _to_make(survey: Survey) -> tuple[SurveyedMachine, ...]:
    return tuple(machine for machine in survey.machines if survey.owns_machines and machine.state in _WORK)


def destroyed_by_provider(situation: Situation, _: Draft) -> Iterator[Item]:
    """A machine goes only after its node has left the cluster, so never by the provider's own plan."""
    for resource in situation.survey.resources:
        if resource.action in _DESTROYING:
            yield Refusal(
                resource.machine or situation.spec.name,
                Failure(
                    "machine.plan-destroys",
                    f"the provider would {resource.action} {resource.name}",
                    resource.what or "from the provider's own plan",
                    "undo the change; to destroy a machine in an orderly way, remove its node from the file",
                    4,
                ),
            )


def differing_machines(situation: Situation, _: Draft) -> Iterator[Item]:
    """A machine that differs from the file in what cannot be changed while it lives is refused."""
    for machine in coming(situation).machines:
        if machine.differences and machine.state != "extra":
            yield Refusal(
                machine.name,
                Failure(
                    "machine.differs",
                    "the machine does not match the file, and cannot be changed in place",
                    "; ".join(machine.differences),
                    f"write its current values into the file; --replace {machine.name} creates "
                    "an agent's machine again and loses its disk",
                    4,
                ),
            )


def provider_notes(situation: Situation, _: Draft) -> Iterator[Item]:
    """What the provider has to say to whoever reads the plan."""
    return (Note(note) for note in situation.survey.notes)
