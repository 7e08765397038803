"""`pk3s destroy`: machines that pk3s made go; hosts that it did not make stay, without K3s."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from productive_k3s.contract.events import Event
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import NotAgreed, Pk3sError
from productive_k3s_infra.execute.executor import as_failure
from productive_k3s_infra.hosts.fleet.gathering import failed
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.operations.recorded import recorded
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of
from productive_k3s_infra.progress.teller import Teller
from productive_k3s_infra.providers.protocol import Survey
from productive_k3s_infra.workspace.record import forget_record, read_record

_REMOVE_SECONDS = 300.0


@dataclass(frozen=True)
class Destroyed:
    """What went, and on which hosts it failed."""

    gone: tuple[str, ...]
    failures: tuple[tuple[str, Failure], ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 5 where something is left."""
        return 5 if self.failures else 0


async def destroy(session: Session) -> Destroyed:
    """Take the cluster away: name what dies, ask for the cluster's name, then do it, agents before the server."""
    with recorded(session, "destroy") as teller:
        read_record(
            session.workspace.folder, session.spec.name
        )  # one that is not understood is said before anything goes
        survey = await session.provider.survey()
        inventory = inventory_of(session, survey)
        dies = what_dies(inventory, survey)
        if not dies:
            return Destroyed(())
        if not session.interaction.agree_to_destroy(session.spec.name, dies):
            raise NotAgreed(
                "nothing was destroyed", remedy="type the cluster's name, or say --yes where nobody is asked"
            )
        ended = await (_machines if survey.owns_machines else _hosts)(session, survey, inventory, teller)
        teller.ended(ended.exit_code, gone=list(ended.gone))
        if not ended.failures:
            _forget(session)
        return ended


def what_dies(inventory: Inventory, survey: Survey) -> tuple[str, ...]:
    """PURE: say in words what is lost."""
    if survey.owns_machines:
        existing = [machine for machine in survey.machines if machine.state != "missing"]
        return (
            *(f"machine {machine.name}, with its disk and the volumes on it" for machine in existing),
            *survey.shared,
        )
    server = inventory.first_server.name
    lost = {server: ", and with it the cluster's datastore"}
    return tuple(
        f"K3s on {host.name} ({host.address}), its pods and local volumes{lost.get(host.name, '')}; the host stays"
        for host in inventory.hosts
    )


async def _machines(session: Session, survey: Survey, _: Inventory, teller: Teller) -> Destroyed:
    names = tuple(machine.name for machine in survey.machines if machine.state != "missing")
    began = time.monotonic()
    what = ", ".join((*names, *survey.shared))
    session.interaction.started("machines", f"destroy {what}")
    await session.provider.destroy_all(teller.machine)
    session.interaction.finished("machines", f"{what} destroyed", time.monotonic() - began)
    return Destroyed((*names, *survey.shared))


async def _hosts(session: Session, _: Survey, inventory: Inventory, teller: Teller) -> Destroyed:
    async with fleet_of(session, inventory) as fleet:
        agents = await asyncio.gather(*(_remove(session, fleet, host, teller) for host in inventory.agents))
        servers = [] if any(agents) else [await _remove(session, fleet, host, teller) for host in inventory.servers]
    asked = [*inventory.agents, *inventory.servers][: len(agents) + len(servers)]
    ended = list(zip(asked, [*agents, *servers], strict=True))
    failures = tuple((host.name, failure) for host, failure in ended if failure is not None)
    return Destroyed(tuple(host.name for host, failure in ended if failure is None), failures)


async def _remove(session: Session, fleet: Fleet, host: Host, teller: Teller) -> Failure | None:
    began = time.monotonic()
    session.interaction.started(host.name, "remove K3s")

    def say(event: Event) -> None:
        session.interaction.progressed(host.name, event.message)

    failure: Failure | None = None
    try:
        there = await fleet.session(host.name)
        record = read_record(session.workspace.folder, session.spec.name)
        meant = ("--cluster", record.ca_hash) if record is not None else ()
        arguments = (*meant, *(("--yes", "--force") if host.role == "server" else ()))
        result = await there.call("uninstall", arguments=arguments, on_event=say, deadline_seconds=_REMOVE_SECONDS)
        if result.outcome not in {"done", "unchanged"}:
            failure = as_failure(failed(host.name, result))
    except Pk3sError as error:
        failure = as_failure(error)
    if failure is not None:
        teller.failed(failure)
    session.interaction.finished(host.name, "remove K3s", time.monotonic() - began, failed=failure is not None)
    return failure


def _forget(session: Session) -> None:
    """The cluster is gone: its record, kubeconfig and inventory describe nothing any more. Journals stay."""
    forget_record(session.workspace.folder, session.spec.name)
    for path in (session.workspace.kubeconfig, session.workspace.inventory):
        path.unlink(missing_ok=True)
