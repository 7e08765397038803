"""Look at everything a plan depends on: machines, hosts, the release's files, what is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.artifacts.cache import default_cache
from productive_k3s_infra.artifacts.release import Resolved, resolve_release
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.assumed import assumed_facts
from productive_k3s_infra.plan.machines import plan_machines, refuse_replacing, without
from productive_k3s_infra.plan.model import Plan, Refusal
from productive_k3s_infra.plan.pipeline import join_plans, plan_cluster
from productive_k3s_infra.plan.removal import plan_removal, without_nodes
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.providers.protocol import Survey
from productive_k3s_infra.workspace.record import read_record

_BRING_BACK = "bring the first server back; a node can leave only a cluster that answers"


@dataclass(frozen=True)
class View:
    """One look: what was observed, and the situation made of it. `notes` say what could not be looked at."""

    inventory: Inventory
    observed: Observed
    situation: Situation
    resolved: Resolved
    notes: tuple[str, ...] = ()


async def look(
    session: Session, survey: Survey, inventory: Inventory, fleet: Fleet, *, new_cluster: bool = False
) -> View:
    """Ask every host that exists for its facts, and find the release's files for their architectures."""
    record = read_record(session.workspace.folder, session.spec.name)
    observed = await gather(inventory, fleet)
    facts = dict(observed.facts)
    arches = {found.host.os.arch for found in facts.values()}
    if any(host.assumed for host in inventory.hosts):
        arches.add(survey.assumption.architecture)
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
            delivery=session.spec.delivery,
            cache=default_cache(),
            on_progress=session.interaction.note,
        )
    except Pk3sError as error:
        # Where every host has the version already, nothing has to be fetched: only the binary's digest stays unchecked.
        if not facts or any(found.k3s.binary_version != wanted.version for found in facts.values()):
            raise
        return Resolved({}, {}), (f"the release's checksums were not compared: {error}",)
    return resolved, ()


def plan_of(view: View, survey: Survey, replacing: Collection[str] = ()) -> Plan:
    """PURE: the plan of all stages; what machines to come will need is planned on assumed facts, and marked.

    The machines in `replacing` are planned anew, and first of all their nodes leave.
    """
    leaving = replacement(view, survey, replacing)
    if leaving.refusals:
        replacing = ()
    coming = without(survey, replacing)
    machines = plan_machines(view.inventory.cluster, coming)
    absent = {machine.name for machine in coming.machines if machine.state == "missing"}
    hosts = tuple(replace(host, assumed=True) if host.name in replacing else host for host in view.inventory.hosts)
    assumed = {host.name: assumed_facts(host, survey.assumption) for host in hosts if host.name in absent}
    situation = replace(
        view.situation,
        inventory=replace(view.inventory, hosts=hosts),
        facts={**view.situation.facts, **assumed},
        leaving=survey.extra,
        owned=survey.owns_machines,
    )
    # What is replaced has left by then, with its Node.
    plan = join_plans(machines, plan_cluster(without_nodes(situation, {step.node for step in leaving.steps})))
    made = {step.host: step.id for step in leaving.steps if step.action == "destroy-machine"}
    steps = tuple(
        replace(step, needs=(made[step.host], *step.needs))
        if step.action == "create-machine" and step.host in made
        else step
        for step in plan.steps
    )
    return replace(
        plan,
        steps=(*leaving.steps, *steps),
        refusals=(*leaving.refusals, *plan.refusals),
        notes=(*leaving.notes, *plan.notes, *view.notes),
    )


def replacement(view: View, survey: Survey, replacing: Collection[str]) -> Plan:
    """PURE: the steps that take machines away which shall be made anew; refused where that must not be."""
    refusals = refuse_replacing(survey, view.inventory, replacing)
    if refusals:
        return Plan(view.inventory.cluster, (), refusals=refusals)
    there = tuple(
        machine.name for machine in survey.machines if machine.name in replacing and machine.state != "missing"
    )
    situation = replace(view.situation, leaving=there)
    plan = plan_removal(situation, (), reason="the machine is made anew")
    if plan.notes:
        # Left alone is right for a machine that nobody named; here somebody did.
        failure = Failure("machine.no-replace", "the cluster does not answer", "; ".join(plan.notes), _BRING_BACK, 4)
        return replace(plan, steps=(), notes=(), refusals=(Refusal(there[0], failure),))
    return plan
