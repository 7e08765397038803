"""`pk3s validate`: is the cluster what the file says, and does it work?"""

from __future__ import annotations

from typing import Any

import yaml

from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations.kubeconfig import fetch_kubeconfig
from productive_k3s_infra.operations.session import Session, fleet_of, running_inventory_of
from productive_k3s_infra.operations.validation_ahead import ValidationAhead
from productive_k3s_infra.plan.surroundings import api_names
from productive_k3s_infra.validate.gather import OnEvent, validate_cluster
from productive_k3s_infra.validate.quick import expectation
from productive_k3s_infra.validate.report import Report


async def validate(session: Session, *, full: bool = True) -> Report:
    """Ask every host and the cluster; `full` runs a pod on every node too, and cleans up after it."""
    survey = await session.provider.survey()
    inventory = running_inventory_of(session, survey)
    async with fleet_of(session, inventory) as fleet:
        return await validate_with(session, inventory, fleet, full=full)


async def validate_with(
    session: Session,
    inventory: Inventory,
    fleet: Fleet,
    *,
    full: bool,
    on_event: OnEvent | None = None,
    ahead: ValidationAhead | None = None,
) -> Report:
    """Validate over an open fleet; `on_event` hears the hosts. The kubeconfig is fetched if it is not here yet.

    `ahead` has begun to look at the cluster before.
    """
    return await validate_cluster(
        inventory,
        fleet,
        expectation(session.spec, inventory),
        full=full,
        kubeconfig_document=await _kubeconfig(session, inventory, fleet),
        api_names=api_names(session.spec, inventory),
        on_event=on_event or session.interaction.progressed,
        of_cluster=ahead.answer() if ahead is not None else None,
    )


async def _kubeconfig(session: Session, inventory: Inventory, fleet: Fleet) -> dict[str, Any] | None:
    try:
        if session.workspace.kubeconfig.exists():
            text = session.workspace.kubeconfig.read_text()
        else:
            text = await fetch_kubeconfig(session, inventory, fleet)
    except Pk3sError as error:
        # The report names the server that does not answer; without its kubeconfig only the look from here is missing.
        session.interaction.note(f"no kubeconfig: {error}")
        return None
    document: dict[str, Any] = yaml.safe_load(text)
    return document
