"""`pk3s validate`: is the cluster what the file says, and does it work?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from productive_k3s.contract.expectation import Expectation
from productive_k3s.contract.facts import Facts
from productive_k3s.plan.state import state_of
from productive_k3s_infra.artifacts.cache import default_cache
from productive_k3s_infra.artifacts.image_list import image_list
from productive_k3s_infra.errors import BadInput, Pk3sError
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations.kubeconfig import fetch_kubeconfig
from productive_k3s_infra.operations.session import Session, fleet_of, running_inventory_of, survey_of
from productive_k3s_infra.operations.validation_ahead import ValidationAhead
from productive_k3s_infra.plan.host_network import api_names
from productive_k3s_infra.validate.gather import OnEvent, answering_server, note_passed, validate_cluster
from productive_k3s_infra.validate.quick import expectation
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.kubeconfig import read_kubeconfig


async def validate(session: Session, *, full: bool = True) -> Report:
    """Ask every host and the cluster; `full` runs a pod on every node too, and cleans up after it."""
    survey = await survey_of(session)
    inventory = running_inventory_of(session, survey)
    async with fleet_of(session, inventory) as fleet:
        return await validate_with(session, inventory, fleet, full=full)


async def validate_with(
    session: Session,
    inventory: Inventory,
    fleet: Fleet,
    *,
    full: bool,
    server: str | None = None,
    facts: Mapping[str, Facts] | None = None,
    on_event: OnEvent | None = None,
    ahead: ValidationAhead | None = None,
) -> Report:
    """Validate over an open fleet; `on_event` hears the hosts. The kubeconfig is fetched if it is not here yet.

    `server` is asked about the cluster, without it the first that can be reached; `ahead` has asked it before. With the
    hosts' `facts`, as they are now, a quick validation is full all the same where none has passed yet for what the
    hosts are made of. How a full one ended is noted, for what the hosts were by `facts`, else by their own answers.
    """
    asked = server or await answering_server(inventory, fleet)
    wanted = await expected(session, inventory) if full else expectation(session.spec, inventory)
    state = state_of(wanted, facts) if facts is not None else ""
    report, seen = await validate_cluster(
        inventory,
        fleet,
        replace(wanted, state=state, unless_passed=not full),
        server=asked,
        full=full or bool(state),
        kubeconfig_document=await _kubeconfig(session, inventory, fleet),
        api_names=api_names(session.spec, inventory),
        on_event=on_event or session.interaction.progressed,
        telling=session.interaction,
        of_cluster=ahead.answer() if ahead is not None else None,
    )
    tried = state or state_of(wanted, seen)
    if report.scope == "full" and (tried or not report.passed):
        await note_passed(asked, fleet, tried if report.passed else "")
    return report


async def expected(session: Session, inventory: Inventory) -> Expectation:
    """Return the cluster that shall be found, with the images that the release names for the pods of a trial."""
    artifacts, version = session.spec.k3s.artifacts, session.spec.k3s.version
    images = await asyncio.to_thread(image_list, artifacts.source, version, default_cache())
    return replace(expectation(session.spec, inventory), images=images)


def facts_after(observed: Mapping[str, Facts], results: Iterable[StepResult]) -> dict[str, Facts]:
    """PURE: the hosts as they are after some steps: what each step's host said in the end, else what was observed."""
    said = {item.step.host: item.result.facts for item in results if item.result and item.result.facts}
    return {**observed, **said}


async def _kubeconfig(session: Session, inventory: Inventory, fleet: Fleet) -> dict[str, Any] | None:
    """Return the kubeconfig that is here; one that is missing or damaged is fetched again: pk3s had written it."""
    try:
        if session.workspace.kubeconfig.exists():
            try:
                return read_kubeconfig(session.workspace)
            except BadInput as error:
                session.interaction.note(f"{error} ({error.evidence}): it is fetched again")
        await fetch_kubeconfig(session, inventory, fleet)
        return read_kubeconfig(session.workspace)
    except Pk3sError as error:
        # The report names the server that does not answer; without its kubeconfig only the look from here is missing.
        session.interaction.note(f"no kubeconfig: {error}")
        return None
