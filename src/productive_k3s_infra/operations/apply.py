"""`pk3s apply`: machines, cluster, then a look whether it is right. Every part can be cut off and done again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from productive_k3s.contract.facts import Facts
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import StepResult, failed
from productive_k3s_infra.hosts.fleet.probing import probe_ports
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.observed import Probe
from productive_k3s_infra.operations.early import EarlyValidation
from productive_k3s_infra.operations.handlers import Handlers, TokenSource, longest_seconds
from productive_k3s_infra.operations.kubeconfig import fetch_kubeconfig
from productive_k3s_infra.operations.looking import View, plan_of
from productive_k3s_infra.operations.machines import MachineStage, Made, require_agreed
from productive_k3s_infra.operations.plan import preflight
from productive_k3s_infra.operations.recorded import recorded
from productive_k3s_infra.operations.removal import RemovalHandlers
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of
from productive_k3s_infra.operations.validate import expected, facts_after, validate_with
from productive_k3s_infra.plan.joining import only_new_agents_join
from productive_k3s_infra.plan.model import ClusterRecord, Plan, Step
from productive_k3s_infra.plan.surroundings import secrets_of
from productive_k3s_infra.preflight.rules import already_listening, to_probe
from productive_k3s_infra.progress.teller import Teller
from productive_k3s_infra.validate.gather import ask_cluster
from productive_k3s_infra.validate.quick import Answer
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.inventory_file import write_inventory
from productive_k3s_infra.workspace.record import read_record, write_record

_REFUSED, _STEP_FAILED, _INVALID = 4, 5, 6


@dataclass(frozen=True)
class Applied:
    """How an apply ended. `report` is None where it ended before the validation; `journal` is where the rest is."""

    plan: Plan
    preflight: Report
    journal: Path | None
    results: tuple[StepResult, ...] = ()
    report: Report | None = None
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """One of the table that both programs share (design, section 9)."""
        if not self.preflight.passed:
            return _REFUSED
        first = next(iter(failed(self.results)), None)
        if first is not None:
            return first.failure.exit_code if first.failure and first.failure.exit_code else _STEP_FAILED
        return 0 if self.report is None or self.report.passed else _INVALID


async def apply(
    session: Session, *, probe: bool = True, new_cluster: bool = False, replacing: tuple[str, ...] = ()
) -> Applied:
    """Make the cluster what the file says. Nothing is changed on a host before all of them were looked at.

    The machines in `replacing` are made anew: their nodes are drained and leave, their disks are lost.
    """
    began = time.monotonic()
    with recorded(session, "apply") as teller:
        survey = await session.provider.survey()
        stage = MachineStage(session, teller, new_cluster=new_cluster)
        made = await stage.run(survey, replacing)
        inventory = inventory_of(session, made.survey)
        async with fleet_of(session, inventory) as fleet:
            view = await stage.look(made.survey, inventory, fleet)
            applied = await _cluster(session, view, fleet, teller, made, probe=probe)
        applied = replace(applied, journal=teller.journal, seconds=time.monotonic() - began)
        teller.ended(applied.exit_code)
        return applied


async def _probes(session: Session, view: View, fleet: Fleet) -> tuple[Probe, ...]:
    targets = to_probe(session.spec, view.inventory, view.observed)
    listening = already_listening(session.spec, view.inventory, view.observed)
    return await probe_ports(view.inventory, targets, fleet, listening)


async def _cluster(session: Session, view: View, fleet: Fleet, teller: Teller, made: Made, *, probe: bool) -> Applied:
    """Stage two: preflight, plan, agree, execute, validate."""
    began = time.monotonic()
    probes = await _probes(session, view, fleet) if probe else None
    teller.looked("ports between the hosts", time.monotonic() - began)
    plan = plan_of(view, made.survey, made.refused)
    found = preflight(session, view, plan, probes)
    teller.planned(plan)
    teller.reported(found)
    applied = Applied(plan, found, None, made.results)
    if not found.passed or failed(made.results):
        return applied
    if plan.steps and not made.covers(plan):
        require_agreed(session, plan)
    _record(session, view.situation.facts.get(view.inventory.first_server.name))
    early = await _early(session, view, fleet, teller, plan)
    try:
        results = await _execute(session, view, fleet, teller, plan=plan, early=early)
        applied = replace(applied, results=(*made.results, *results))
        if failed(results):
            return applied
        report = await _validate(session, view, fleet, teller, early=early, results=applied.results)
    finally:
        if early is not None:
            await early.drop()
    return replace(applied, report=report)


async def _early(session: Session, view: View, fleet: Fleet, teller: Teller, plan: Plan) -> EarlyValidation | None:
    """Return a validation that begins while agents join, None where it has to wait until all steps have ended."""
    if not only_new_agents_join(view.situation, plan):
        return None
    wanted = await expected(session, view.inventory)
    wanted = replace(
        wanted, deadline=wanted.deadline + longest_seconds(plan.steps, view.resolved.local_files), joining=True
    )

    async def ask() -> Answer:
        return await ask_cluster(view.inventory, fleet, wanted, full=True, on_event=teller.validating)

    first = f"{view.inventory.first_server.name}/apply-server"
    return EarlyValidation(ask, first if any(step.id == first for step in plan.steps) else None)


async def _validate(
    session: Session,
    view: View,
    fleet: Fleet,
    teller: Teller,
    *,
    early: EarlyValidation | None,
    results: tuple[StepResult, ...],
) -> Report:
    if results or not session.workspace.kubeconfig.exists():
        await fetch_kubeconfig(session, view.inventory, fleet)
    write_inventory(session.workspace, view.inventory)
    began = time.monotonic()
    facts = facts_after(view.observed.facts, results)
    report = await validate_with(
        session, view.inventory, fleet, full=bool(results), facts=facts, on_event=teller.validating, early=early
    )
    teller.looked("the cluster, to validate it", time.monotonic() - began)
    teller.reported(report)
    return report


async def _execute(
    session: Session, view: View, fleet: Fleet, teller: Teller, *, plan: Plan, early: EarlyValidation | None
) -> tuple[StepResult, ...]:
    first = view.inventory.first_server.name
    tokens = TokenSource(fleet, first)
    handlers = Handlers(fleet, tokens, view.resolved.local_files, teller.host_said, secrets_of(session.spec))
    leaving = RemovalHandlers(session.provider, fleet, teller)
    if early is not None:
        early.begin()
    try:
        return await execute(
            plan.steps, handlers.by_action() | leaving.by_action(), _Recorder(session, first, teller, early)
        )
    except asyncio.CancelledError:
        session.interaction.note("stopping: each host finishes the change it is at")
        raise


@dataclass(frozen=True)
class _Recorder:
    """Records the cluster's CA as soon as its founder's step has ended, whatever comes of the other steps."""

    session: Session
    first_server: str
    teller: Teller
    early: EarlyValidation | None

    def step_started(self, step: Step) -> None:
        self.teller.step_started(step)

    def step_ended(self, result: StepResult) -> None:
        self.teller.step_ended(result)
        if self.early is not None:
            self.early.step_ended(result)
        if result.step.host == self.first_server and result.result is not None:
            _record(self.session, result.result.facts)


def _record(session: Session, facts: Facts | None) -> None:
    """Remember which cluster this is: a later run must never found another one."""
    if facts is None or not facts.k3s.ca_hash or facts.k3s.datastore is None:
        return
    folder, name = session.workspace.folder, session.spec.name
    before = read_record(folder, name)
    hosts = before.hosts if before is not None else {}
    write_record(folder, name, ClusterRecord(facts.k3s.ca_hash, session.spec.k3s.version, hosts))
