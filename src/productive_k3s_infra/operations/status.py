"""`pk3s status`: one line a host, from one look; nothing is judged and nothing is changed."""

from __future__ import annotations

from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.operations.node_status import Status, status_of
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of


async def get_status(session: Session) -> Status:
    """Look at machines, hosts and cluster."""
    survey = await survey_of(session)
    inventory = inventory_of(session, survey)
    async with fleet_of(session, inventory) as fleet:
        observed = await gather(inventory, fleet, session.interaction)
    return status_of(survey, inventory, observed)
