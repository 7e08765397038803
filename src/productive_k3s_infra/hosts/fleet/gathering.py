"""Look at all hosts at once: one call each, in parallel."""

from __future__ import annotations

import asyncio
import time

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts
from productive_k3s_infra.errors import HostProgramFailed, Pk3sError
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import LOOK, Telling, told_together
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.inventory.observed import Measured, Observed

_FACTS_DEADLINE_SECONDS = 60.0


async def gather(inventory: Inventory, fleet: Fleet, telling: Telling | None = None) -> Observed:
    """Ask every host of the inventory for its facts, and tell of each. A host that cannot be asked stops no other."""
    hosts = [host for host in inventory.hosts if not host.assumed]
    answers = await asyncio.gather(*(_ask(host, fleet, telling) for host in hosts))
    measured: dict[str, Measured] = {}
    unreachable: dict[str, Pk3sError] = {}
    for host, answer in zip(hosts, answers, strict=True):
        if isinstance(answer, Pk3sError):
            unreachable[host.name] = answer
        else:
            measured[host.name] = answer
    return Observed(measured, unreachable)


async def _ask(host: Host, fleet: Fleet, telling: Telling | None) -> Measured | Pk3sError:
    try:
        async with told_together(telling, host.name, LOOK):
            session = await fleet.session(host.name)
            before = time.time()
            result = await session.call("facts", deadline_seconds=_FACTS_DEADLINE_SECONDS)
            after = time.time()
            facts = require_facts(host.name, result)
    except Pk3sError as error:
        return error
    # The host read its clock between our two readings: the truth lies between the two differences.
    return Measured(facts, facts.host.time - after, facts.host.time - before)


def require_facts(host: str, result: Result) -> Facts:
    """Return the facts a result carries, or raise what went wrong on the host."""
    if result.facts is not None:
        return result.facts
    raise failed(host, result)


def failed(host: str, result: Result) -> Pk3sError:
    """Turn a result that did not end well into our error, keeping its code, evidence and remedy."""
    if not result.failures:
        return HostProgramFailed(f"it ended as {result.outcome} without a reason", where=host)
    first = result.failures[0]
    return HostProgramFailed(first.what, where=host, evidence=first.evidence, remedy=first.remedy, code=first.code)
