"""Look at everything a plan depends on: machines, hosts, the release's files, what is recorded."""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass, replace

from productive_k3s.facts.model import Facts
from productive_k3s_infra.artifacts.cache import default_cache
from productive_k3s_infra.artifacts.release import Resolved, resolve_release
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.gathering import Observed, gather
from productive_k3s_infra.hosts.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.assumed import assumed_facts
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.pipeline import join_plans, plan_cluster, plan_machines
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.providers.protocol import Survey
from productive_k3s_infra.workspace.record import read_record

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class View:
    """One look: what was observed, and the situation made of it. `notes` say what could not be looked at."""

    inventory: Inventory
    observed: Observed
    situation: Situation
    resolved: Resolved
    notes: tuple[str, ...] = ()


async def look(session: Session, inventory: Inventory, fleet: Fleet, *, new_cluster: bool = False) -> View:
    """Ask every host that exists for its facts, and find the release's files for their architectures."""
    record = read_record(session.workspace.lock_file)
    observed = await gather(inventory, fleet)
    facts = dict(observed.facts)
    arches = {found.host.os.arch for found in facts.values()}
    if any(host.assumed for host in inventory.hosts):
        arches.add(_own_architecture())
    resolved, notes = await _files(session, frozenset(arches), facts)
    situation = Situation(session.spec, inventory, facts, resolved.files, record, new_cluster)
    return View(inventory, observed, situation, resolved, notes)


async def _files(session: Session, arches: frozenset[str], facts: dict[str, Facts]) -> tuple[Resolved, tuple[str, ...]]:
    wanted = session.spec.k3s
    try:
        resolved = await asyncio.to_thread(
            resolve_release,
            wanted.artifacts.source,
            wanted.version,
            arches,
            delivery=wanted.artifacts.delivery,
            cache=default_cache(),
            on_progress=session.interaction.note,
        )
    except Pk3sError as error:
        # Where every host has the version already, nothing has to be fetched: only the binary's digest stays unchecked.
        if not facts or any(found.k3s.binary_version != wanted.version for found in facts.values()):
            raise
        return Resolved({}, {}), (f"the release's checksums were not compared: {error}",)
    return resolved, ()


def plan_of(view: View, survey: Survey) -> Plan:
    """PURE: the plan of all stages; what machines to come will need is planned on assumed facts, and marked."""
    machines = plan_machines(view.inventory.cluster, _missing(survey))
    absent = {machine.name for machine in survey.machines if machine.state == "missing"}
    assumed = {
        host.name: assumed_facts(host, _own_architecture()) for host in view.inventory.hosts if host.name in absent
    }
    facts = {**view.situation.facts, **assumed}
    cluster = plan_cluster(replace(view.situation, facts=facts))
    plan = join_plans(machines, cluster) if machines.steps else cluster
    extra = [machine.name for machine in survey.machines if machine.state == "extra"]
    notes = (f"machines that are not in the file: {', '.join(extra)}; they are left alone",) if extra else ()
    return replace(plan, notes=(*plan.notes, *view.notes, *notes))


def _missing(survey: Survey) -> tuple[tuple[str, str], ...]:
    if not survey.owns_machines:
        return ()
    why = {
        "missing": "the machine does not exist",
        "stopped": "the machine does not run; what is on its disk stays",
        "broken": "the machine was begun and not finished",
    }
    return tuple((machine.name, why[machine.state]) for machine in survey.machines if machine.state in why)


def _own_architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), "amd64")
