"""Wait until the node is Ready: bounded, ended early where no waiting helps, diagnosed where it ends badly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Tuple

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Request
from productive_k3s.doors.host import ReadingHost
from productive_k3s.facts import unit_state
from productive_k3s.facts.unit_state import UnitState
from productive_k3s.k3s import paths
from productive_k3s.waits import diagnosis

_POLL_SECONDS = 0.25
_HEARTBEAT_SECONDS = 1.8
_READY_IN_A_ROW = 3
# Between looks that found it Ready; the validation afterwards looks again, and longer.
_SURE_SECONDS = 0.1
# A line of the log can be about a moment that passes; a cause that stands so long with the unit down does not pass.
_FINAL_AFTER_SECONDS = 6.0
_JOURNAL_EVERY_SECONDS = 2.0
# Times in the API are whole seconds.
_CLOCK_GRAIN_SECONDS = 1.0


@dataclass
class _Watch:
    """What one wait has seen so far."""

    started: float
    said: float = 0.0
    looked: float = 0.0
    ready_in_a_row: int = 0
    cause: Optional[Failure] = None
    cause_since: float = 0.0
    first_restarts: int = -1


async def wait_until_ready(host: ReadingHost, request: Request, node: str, since: float, change: str) -> None:
    """Return once the unit is active and the Node Ready several times in a row, with a heartbeat younger than `since`.

    A server that joins must be a voter of etcd too. Nothing is ever stopped here: a deadline ends in a diagnosis
    (k3s-observed.md: a joining server that is stopped can cost the others their quorum).
    """
    deadlines = request.deadlines
    watch = _Watch(await host.system.monotonic())
    limit = watch.started + deadlines.start + deadlines.ready
    while True:
        state = await unit_state.state(host.system, request.unit)
        observation = await _look(host, request, node, since, state)
        watch.ready_in_a_row = 0 if observation else watch.ready_in_a_row + 1
        if watch.ready_in_a_row >= _READY_IN_A_ROW:
            return
        now = await host.system.monotonic()
        _say(host, watch, now, observation or "Ready", change)
        await _end_early(host, request, since, state=state, watch=watch, now=now)
        if now >= limit:
            raise ContractError(await _timed_out(host, request, since, observation, now - watch.started))
        host.require_going_on()
        await host.system.sleep(_SURE_SECONDS if watch.ready_in_a_row else _POLL_SECONDS)


async def _look(host: ReadingHost, request: Request, node: str, since: float, state: UnitState) -> str:
    """Return what is still missing, '' if nothing is."""
    if state.active != "active":
        return str(state)
    kubeconfig = paths.KUBELET_KUBECONFIG if request.role == "agent" else paths.ADMIN_KUBECONFIG
    try:
        found = await host.kube(kubeconfig).node(node)
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
        return f"{state}; node {node} is no voter of etcd yet"
    return ""


def _say(host: ReadingHost, watch: _Watch, now: float, observation: str, change: str) -> None:
    if now - watch.said >= _HEARTBEAT_SECONDS or watch.said == 0.0:
        host.emit("waiting", observation, change)
        watch.said = now


async def _end_early(
    host: ReadingHost, request: Request, since: float, *, state: UnitState, watch: _Watch, now: float
) -> None:
    """Raise the cause if one that no waiting mends has stood for some time while the unit is not active."""
    if state.active == "active":
        watch.cause = None
        return
    if now - watch.looked < _JOURNAL_EVERY_SECONDS:
        return
    watch.looked = now
    watch.first_restarts = state.restarts if watch.first_restarts < 0 else watch.first_restarts
    lines = await unit_state.journal(host.system, request.unit, since)
    cause = diagnosis.final_cause(lines)
    if cause is None and state.restarts - watch.first_restarts >= 3:
        cause = _crash_loop(state, lines)
    if cause is None or watch.cause is None or cause.code != watch.cause.code:
        watch.cause, watch.cause_since = cause, now
    elif now - watch.cause_since >= _FINAL_AFTER_SECONDS:
        raise ContractError(cause)


def _crash_loop(state: UnitState, lines: Tuple[str, ...]) -> Failure:
    return Failure(
        code="k3s.crash-loop",
        what=f"K3s ends and is started again ({state.restarts} times, status {state.exit_status})",
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
        remedy=f"see journalctl -u {request.unit} on the host; the next run goes on waiting where this one ended",
    )
