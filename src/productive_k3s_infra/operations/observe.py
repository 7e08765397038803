"""Look at everything a plan depends on: machines, hosts, the release's files, what is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from productive_k3s.contract.facts import Facts
from productive_k3s_infra.artifacts.cache import default_cache
from productive_k3s_infra.artifacts.release import Resolved, resolve_release
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.model import as_failure
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import RELEASE, told
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.limit import looked_at, require_known
from productive_k3s_infra.plan.mark import leaving_host
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.plan.requests import Leaving, Situation
from productive_k3s_infra.providers.protocol import Survey
from productive_k3s_infra.workspace.record import read_record


@dataclass(frozen=True)
class Observation:
    """One look: what was observed, and the situation made of it."""

    inventory: Inventory
    observed: Observed
    situation: Situation
    resolved: Resolved


async def observe(
    session: Session,
    survey: Survey,
    inventory: Inventory,
    fleet: Fleet,
    *,
    new_cluster: bool = False,
    replacing: tuple[str, ...] = (),
    limit: frozenset[str] = frozenset(),
) -> Observation:
    """Ask every host that exists for its facts, and find the release's files for their architectures.

    With a `limit` only the hosts of the nodes that it names and servers are asked; raises BadInput for other names.
    """
    record = read_record(session.workspace.folder, session.spec.name)
    observed, leaving = await asyncio.gather(
        gather(looked_at(inventory, limit), fleet, session.interaction),
        look_at_leaving(session, inventory, record, fleet, limit),
    )
    facts = observed.facts
    situation = Situation(
        session.spec,
        inventory,
        facts,
        record=record,
        new_cluster=new_cluster,
        survey=survey,
        replacing=replacing,
        unreached={name: as_failure(error) for name, error in observed.unreachable.items()},
        leaving=leaving,
        limit=limit,
    )
    require_known(situation)
    arches = {found.host.os.arch for found in facts.values()}
    if replacing or any(host.assumed for host in inventory.hosts):
        arches.add(survey.assumption.architecture)
    resolved, notes = await _files(session, frozenset(arches), facts)
    return Observation(inventory, observed, replace(situation, files=resolved.files, notes=notes), resolved)


def with_leaving(session: Session, inventory: Inventory, limit: frozenset[str] = frozenset()) -> Inventory:
    """Return the inventory with the hosts that the file does not name any more, for a fleet that reaches them too.

    With a `limit` it has no host that is not to be reached.
    """
    record = read_record(session.workspace.folder, session.spec.name)
    return looked_at(replace(inventory, hosts=(*inventory.hosts, *_leaving(session, inventory, record))), limit)


def _leaving(session: Session, inventory: Inventory, record: ClusterRecord | None) -> tuple[Host, ...]:
    declared = {host.name for host in inventory.hosts}
    known = record.hosts if record is not None else {}
    key = session.spec.ssh.key
    return tuple(leaving_host(name, reach, key) for name, reach in known.items() if name not in declared)


async def look_at_leaving(
    session: Session,
    inventory: Inventory,
    record: ClusterRecord | None,
    fleet: Fleet,
    limit: frozenset[str] = frozenset(),
) -> dict[str, Leaving]:
    """Ask the hosts that the file does not name any more how they are; one that does not answer stops nobody."""
    hosts = looked_at(replace(inventory, hosts=_leaving(session, inventory, record)), limit).hosts
    seen = await gather(replace(inventory, hosts=hosts), fleet, session.interaction)
    failures = {name: as_failure(error) for name, error in seen.unreachable.items()}
    return {host.name: Leaving(host, seen.facts.get(host.name), failures.get(host.name)) for host in hosts}


async def _files(
    session: Session, arches: frozenset[str], facts: Mapping[str, Facts]
) -> tuple[Resolved, tuple[str, ...]]:
    wanted = session.spec.k3s
    telling = session.interaction
    try:
        with told(telling, wanted.version, RELEASE):
            resolved = await asyncio.to_thread(
                resolve_release,
                wanted.artifacts.source,
                wanted.version,
                arches,
                delivery=session.spec.delivery,
                cache=default_cache(),
                on_progress=partial(telling.progressed, wanted.version),
            )
    except Pk3sError as error:
        # Where every host has the version already, nothing has to be fetched: only the binary's digest stays unchecked.
        if not facts or any(found.k3s.binary_version != wanted.version for found in facts.values()):
            raise
        return Resolved({}, {}), (f"the release's checksums were not compared: {error}",)
    return resolved, ()
