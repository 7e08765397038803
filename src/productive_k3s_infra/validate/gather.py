"""Validate a cluster: every host looks at itself, a server at the cluster, this computer at the API, all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import CheckResult, Event
from productive_k3s.contract.expectation import Expectation
from productive_k3s.contract.facts import Facts
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import VALIDATE, Telling, told_together
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.validate.api import judge_api, look_at_api
from productive_k3s_infra.validate.quick import Answer, facts_of, report_of, scope_of
from productive_k3s_infra.validate.report import Report

# Called with the host's name and what it says while it works.
OnEvent = Callable[[str, str], None]

_HOST_SECONDS = 60.0
# A full validation takes its pods away again after the trial, and waits until they are gone.
_TRIAL_MARGIN_SECONDS = 60.0


async def validate_cluster(
    inventory: Inventory,
    fleet: Fleet,
    expectation: Expectation,
    *,
    server: str,
    full: bool,
    kubeconfig_document: Mapping[str, Any] | None,
    api_names: tuple[str, ...] = (),
    on_event: OnEvent | None = None,
    telling: Telling | None = None,
    of_cluster: Awaitable[Answer | None] | None = None,
) -> tuple[Report, dict[str, Facts]]:
    """Ask all hosts and look at the API; a host that cannot be asked is a failed check and stops no other.

    Returns the report, and what the hosts that answered are. `server` is the one that is asked about the cluster.
    `full` runs pods on every node too; with `unless_passed` in the expectation only where that is not known to be well,
    and the report's scope says what was done. The certificate of the API must have the founder's address and
    `api_names` among its names. `on_event` hears the hosts, `telling` that each begins and ends. `of_cluster` is the
    answer of `server` where it was asked before (`ask_cluster`); if that gives None, it is asked now.
    """
    names = [host.name for host in inventory.hosts]
    wanted = (inventory.founder.address, *api_names)

    async def ask(name: str) -> Answer:
        async with told_together(telling, name, VALIDATE):
            if name != server:
                arguments = ("--scope", "host")
                return await _ask(name, fleet, expectation, arguments, deadline=_HOST_SECONDS, on_event=on_event)
            before = await of_cluster if of_cluster is not None else None
            return before or await ask_cluster(server, fleet, expectation, full=full, on_event=on_event)

    looks = asyncio.gather(*(ask(name) for name in names))
    answers, api = await asyncio.gather(looks, _api(kubeconfig_document, inventory, wanted))
    found = dict(zip(names, answers, strict=True))
    scope = scope_of(found[server], "full" if full else "quick")
    return report_of(inventory.cluster, found, api, scope=scope), facts_of(found)


async def note_passed(server: str, fleet: Fleet, state: str) -> bool:
    """Note through a server for which state a full validation has passed, '' for none; say whether it is noted.

    Where a state cannot be noted the next apply tries everything once more, which does no harm.
    """
    try:
        session = await fleet.session(server)
        result = await session.call("validate", arguments=("--note", state), deadline_seconds=_HOST_SECONDS)
    except Pk3sError:
        return False
    return result.outcome == "done"


async def answering_server(inventory: Inventory, fleet: Fleet) -> str:
    """Return the first server in file order that can be reached; the founder where none can.

    Where there is one server only it is not tried: whoever asks it next says why it cannot be.
    """
    if len(inventory.servers) > 1:
        for server in inventory.servers:
            try:
                await fleet.session(server.name)
            except Pk3sError:
                continue
            return server.name
    return inventory.founder.name


async def ask_cluster(
    server: str, fleet: Fleet, expectation: Expectation, *, full: bool, on_event: OnEvent | None = None
) -> Answer:
    """Ask a server for itself and the cluster, in one call: that scope includes the host's own."""
    deadline = _HOST_SECONDS + expectation.deadline
    deadline += expectation.trial_deadline + _TRIAL_MARGIN_SECONDS if full else 0.0
    arguments = ("--scope", "cluster", *(("--full",) if full else ()))
    return await _ask(server, fleet, expectation, arguments, deadline=deadline, on_event=on_event)


async def _ask(
    name: str,
    fleet: Fleet,
    expectation: Expectation,
    arguments: tuple[str, ...],
    *,
    deadline: float,
    on_event: OnEvent | None,
) -> Answer:
    def heard(event: Event) -> None:
        if on_event is not None:
            on_event(name, event.message)

    try:
        session = await fleet.session(name)
        return await session.call(
            "validate", encode(expectation), arguments=arguments, on_event=heard, deadline_seconds=deadline
        )
    except Pk3sError as error:
        return error


async def _api(
    kubeconfig: Mapping[str, Any] | None, inventory: Inventory, wanted: tuple[str, ...]
) -> tuple[CheckResult, ...]:
    if kubeconfig is None:
        return (
            CheckResult(
                "api.reachable",
                inventory.founder.address,
                False,
                "error",
                "was not checked: there is no kubeconfig",
                remedy="pk3s kubeconfig fetches it from a running server",
            ),
        )
    # The look blocks for as long as the network lets it, with a deadline of its own.
    seen = await asyncio.to_thread(look_at_api, kubeconfig, time.time())
    return judge_api(seen, wanted, through_jump=inventory.founder.endpoint.jump is not None)
