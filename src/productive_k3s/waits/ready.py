"""Wait until the node is Ready: bounded, ended early where no waiting helps, diagnosed where it ends badly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Tuple

from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Request
from productive_k3s.doors.host import ReadingHost
from productive_k3s.facts import unit_state
from productive_k3s.facts.unit_state import UnitState
from productive_k3s.waits import diagnosis
from productive_k3s.waits.loop import Bounds, Look, wait_until
from productive_k3s.waits.watch import own_kube

_POLL_SECONDS = 0.25
_READY_IN_A_ROW = 3
# Between looks that found it Ready; the validation afterwards looks again, and longer.
_SURE_SECONDS = 0.1
# A line of the log can be about a moment that passes; a cause that stands so long with the unit down does not pass.
_FINAL_AFTER_SECONDS = 6.0
_JOURNAL_EVERY_SECONDS = 2.0
_CRASH_LOOP_RESTARTS = 3
_VERSION_SECONDS = 30.0
# Times in the API are whole seconds.
_CLOCK_GRAIN_SECONDS = 1.0


@dataclass
class _Watch:
    """What one wait has seen so far."""

    read: float = float("-inf")
    cause: Optional[Failure] = None
    cause_since: float = 0.0
    first_restarts: int = -1
    other_version_since: float = -1.0


async def wait_until_ready(host: ReadingHost, request: Request, node: str, since: float, change: str) -> None:
    """Return once the unit is active and the Node Ready several times in a row, with a heartbeat younger than `since`.

    A Node that still shows the old version is waited for, and a server that joins must be a voter of etcd. Nothing is
    ever stopped here: a deadline ends in a diagnosis (seen on v1.34.3: a joining server that is stopped can cost the
    others their quorum).
    """
    watch = _Watch()

    async def look(seconds: float) -> Look[None]:
        state = await unit_state.state(host.system, request.unit)
        lacking = await _lacking(host, request, node, since, state=state, watch=watch, now=seconds)
        if lacking:
            await _end_early(host, request, since, state=state, watch=watch, now=seconds)
        return Look(None, lacking)

    deadline = request.deadlines.start + request.deadlines.ready
    bounds = Bounds(deadline, _POLL_SECONDS, _READY_IN_A_ROW, _SURE_SECONDS)
    waited = await wait_until(host, look, bounds, change)
    if not waited.is_done:
        raise ContractError(await _timed_out(host, request, since, waited.lacking or "Ready", waited.seconds))


async def _lacking(
    host: ReadingHost, request: Request, node: str, since: float, *, state: UnitState, watch: _Watch, now: float
) -> str:
    """Return what is still missing, '' if nothing is."""
    if state.active != "active":
        return str(state)
    try:
        found = await own_kube(host, request).node(node)
    except ContractError as error:
        return f"{state}; the API: {error.failure.evidence or error.failure.what}"
    if found is None:
        return f"{state}; node {node} is not registered yet"
    if not found.ready:
        return f"{state}; node {node} is not Ready yet"
    if found.heartbeat < since - _CLOCK_GRAIN_SECONDS:
        return f"{state}; node {node} has not reported since the start"
    joins_etcd = request.role == "server" and request.join is not None and request.datastore == "etcd"
    if joins_etcd and not found.etcd_voter:
        return f"{state}; node {node} is not an etcd voter yet"
    return _old_version(request, found, watch, now)


def _old_version(request: Request, node: NodeFact, watch: _Watch, now: float) -> str:
    """Return that the Node shows another version, as it does for seconds after the start of a new binary.

    Nothing else is wrong with it, so it is not waited for much longer: the validation says it then.
    """
    if node.version == request.version:
        return ""
    watch.other_version_since = now if watch.other_version_since < 0 else watch.other_version_since
    if now - watch.other_version_since >= _VERSION_SECONDS:
        return ""
    return f"node {node.name} still reports {node.version or 'no version'}"


async def _end_early(
    host: ReadingHost, request: Request, since: float, *, state: UnitState, watch: _Watch, now: float
) -> None:
    """Raise the cause if one that no waiting mends has stood for some time while the unit is not active."""
    watch.first_restarts = state.restarts if watch.first_restarts < 0 else watch.first_restarts
    # A K3s that ends a moment after it was active, with status 0 too, is a crash loop all the same.
    loops = state.restarts - watch.first_restarts >= _CRASH_LOOP_RESTARTS
    if state.active == "active" and not loops:
        watch.cause = None
        return
    if now - watch.read < _JOURNAL_EVERY_SECONDS:
        return
    watch.read = now
    lines = await unit_state.journal(host.system, request.unit, since)
    cause = diagnosis.final_cause(lines) or (_crash_loop(state, lines) if loops else None)
    if cause is None or watch.cause is None or cause.code != watch.cause.code:
        watch.cause, watch.cause_since = cause, now
    elif now - watch.cause_since >= _FINAL_AFTER_SECONDS:
        raise ContractError(cause)


def _crash_loop(state: UnitState, lines: Tuple[str, ...]) -> Failure:
    return Failure(
        code="k3s.crash-loop",
        what=f"K3s keeps stopping and being restarted ({state.restarts} times, status {state.exit_status})",
        evidence=diagnosis.last_words(lines),
        remedy="see journalctl -u k3s (k3s-agent) on the host",
    )


async def _timed_out(host: ReadingHost, request: Request, since: float, observation: str, seconds: float) -> Failure:
    lines = await unit_state.journal(host.system, request.unit, since)
    ranked = diagnosis.causes(lines)
    if ranked:
        best = ranked[0]
        others = "".join(f"; also seen: {other.what}" for other in ranked[1:3])
        return replace(best, what=f"{best.what} (after {seconds:.0f} s: {observation}){others}")
    return Failure(
        code="k3s.start-timeout",
        what=f"the node was not Ready within {seconds:.0f} s: {observation}",
        evidence=diagnosis.last_words(lines) or "the journal of the unit is empty",
        remedy=f"see journalctl -u {request.unit} on the host; the next run continues waiting where this one stopped",
    )
