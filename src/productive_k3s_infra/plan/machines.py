"""PURE: the stage of the machines: what a provider makes before hosts can be asked anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from productive_k3s.contract.failure import Failure
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.inventory.survey import Resource, Survey
from productive_k3s_infra.plan.model import Plan, Refusal, Step

_WHY = {
    "missing": "the machine does not exist",
    "stopped": "the machine does not run; what is on its disk stays",
    "broken": "the machine was begun and not finished",
}
_DESTROYING = ("delete", "replace")


def plan_machines(cluster: str, survey: Survey) -> Plan:
    """Return the steps that make machines, in file order, after what they share. Nothing is ever destroyed here."""
    if not survey.owns_machines:
        return Plan(cluster, (), notes=survey.notes)
    making = [machine for machine in survey.machines if machine.state in _WHY]
    names = {machine.name for machine in making}
    shared = tuple(str(resource) for resource in survey.resources if resource.machine not in names)
    first = Step(
        f"{cluster}/shared-resources",
        "machines",
        cluster,
        "shared-resources",
        "what the machines share is not as the file says",
        "change",
        resources=shared,
    )
    needs = (first.id,) if shared else ()
    steps = tuple(
        Step(
            f"{machine.name}/create-machine",
            "machines",
            machine.name,
            "create-machine",
            _WHY[machine.state],
            "change",
            needs=needs,
            resources=tuple(str(resource) for resource in survey.resources if resource.machine == machine.name),
        )
        for machine in making
    )
    refusals = (*_destroying(cluster, survey.resources), *_differing(survey))
    return Plan(cluster, (*((first,) if shared else ()), *steps), refusals=tuple(refusals), notes=survey.notes)


def _destroying(cluster: str, resources: tuple[Resource, ...]) -> Iterator[Refusal]:
    """A machine goes only after its node has left the cluster, so never in this stage."""
    for resource in resources:
        if resource.action in _DESTROYING:
            yield Refusal(
                resource.machine or cluster,
                Failure(
                    "machine.plan-destroys",
                    f"the provider would {resource.action} {resource.name}",
                    resource.what or "seen in the provider's own plan",
                    "put back what was changed; take a node out of the file to have its machine destroyed in order",
                    4,
                ),
            )


def _differing(survey: Survey) -> Iterator[Refusal]:
    for machine in survey.machines:
        if machine.differences and machine.state != "extra":
            yield Refusal(
                machine.name,
                Failure(
                    "machine.differs",
                    "the machine is not as the file says, and cannot be changed while it lives",
                    "; ".join(machine.differences),
                    f"write what it is into the file; --replace {machine.name} makes an agent anew, without its disk",
                    4,
                ),
            )


def without(survey: Survey, names: Collection[str]) -> Survey:
    """Return the survey as it will be once the machines of these names are gone."""
    machines = (
        replace(machine, state="missing", location=None, differences=(), evidence="")
        if machine.name in names
        else machine
        for machine in survey.machines
    )
    return replace(survey, machines=tuple(machines))


def has_work(survey: Survey) -> bool:
    """Return whether the stage of the machines has something to do or to refuse."""
    plan = plan_machines("", survey)
    return bool(plan.steps or plan.refusals)


def refuse_replacing(survey: Survey, inventory: Inventory, names: Collection[str]) -> tuple[Refusal, ...]:
    """Return why machines cannot be replaced as somebody asked: a name that is none, or where the datastore lies."""
    return tuple(refusal for name in names for refusal in _not_replaceable(survey, inventory, name))


def _not_replaceable(survey: Survey, inventory: Inventory, name: str) -> Iterator[Refusal]:
    known = [host.name for host in inventory.hosts]
    if name not in known or not survey.owns_machines:
        what = "there is no such node in the file" if survey.owns_machines else "pk3s does not make these hosts"
        remedy = f"the file has {', '.join(known)}" if survey.owns_machines else "replace the host yourself"
        yield Refusal(name, Failure("machine.no-replace", f"{what}, so it cannot be replaced", "", remedy, 2))
    elif [server.name for server in inventory.servers] == [name]:
        remedy = "write its old size into the file; or pk3s destroy, and apply again: everything in the cluster is lost"
        what = "it is the only server: the cluster's datastore lies on its disk"
        yield Refusal(name, Failure("machine.only-server", what, "", remedy, 4))
