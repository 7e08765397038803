"""`pk3s status`: one line a host, from one look; nothing is judged and nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

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


async def watch_status(session: Session, pause_seconds: float) -> AsyncIterator[Status]:
    """Yield a look, then one more after each pause, for ever; connections stay open between them."""
    survey = await session.provider.survey()
    while True:
        inventory = inventory_of(session, survey)
        async with fleet_of(session, inventory) as fleet:
            while inventory_of(session, survey) == inventory:
                yield status_of(survey, inventory, await gather(inventory, fleet))
                await asyncio.sleep(pause_seconds)
                survey = await session.provider.survey()
