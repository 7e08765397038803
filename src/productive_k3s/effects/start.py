"""K3s is started, and it is noted with what; then it is waited for."""

from __future__ import annotations

import json
from typing import Dict

from productive_k3s import __version__
from productive_k3s.contract.change import Change
from productive_k3s.contract.codec import encode
from productive_k3s.contract.facts import Digests
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.system import System
from productive_k3s.effects import service
from productive_k3s.effects.task import Task
from productive_k3s.facts import unit_state
from productive_k3s.facts.k3s import k3s_facts
from productive_k3s.facts.start import large_files
from productive_k3s.facts.unit_state import UnitState
from productive_k3s.facts.units import ask_systemd
from productive_k3s.k3s import paths
from productive_k3s.waits.loop import Bounds, Look, wait_until
from productive_k3s.waits.ready import wait_until_ready
from productive_k3s.waits.watch import ready_pods, watch_node

_POLL_SECONDS = 0.1


async def enable_unit(task: Task, change: Change) -> None:
    await service.systemctl(task.host.system, "enable", change.target)


async def start_unit(task: Task, change: Change) -> None:
    await _run_unit(task, "start", change.target, change.id)


async def restart_unit(task: Task, change: Change) -> None:
    if task.request.watch is not None:
        task.seen.ready_pods = await ready_pods(task.host, task.request, task.desired.node_name, change.id)
    await _run_unit(task, "restart", change.target, change.id)


async def _run_unit(task: Task, verb: str, unit: str, change: str) -> None:
    """Start without blocking, then note with which files: the unit has a new invocation id by then."""
    host = task.host
    before = await unit_state.state(host.system, unit)
    if before.needs_reload:
        await service.systemctl(host.system, "daemon-reload")
    if before.active == "failed":
        # systemd refuses to start a unit that failed too often in a short time.
        await service.systemctl(host.system, "reset-failed", unit)
    await _begin(host.system, verb, unit, is_known=before.is_known)

    async def look(_: float) -> Look[UnitState]:
        state = await unit_state.state(host.system, unit)
        is_old = state.invocation_id in ("", before.invocation_id)
        return Look(state, f"systemd has not begun to {verb} {unit} yet: {state}" if is_old else "")

    # What takes no time is not worth a line.
    begun = await wait_until(host, look, Bounds(task.request.deadlines.start, _POLL_SECONDS, say_first=False), change)
    if not begun.is_done:
        raise ContractError(_never_started(unit, str(begun.found)))
    await record_start(task, unit)


async def _begin(system: System, verb: str, unit: str, *, is_known: bool) -> None:
    """Ask systemd to start; a unit that it did not know it reads then (before version 247 only after a reload)."""
    try:
        await service.systemctl(system, verb, "--no-block", unit)
    except ContractError:
        if is_known:
            raise
        await service.systemctl(system, "daemon-reload")
        await service.systemctl(system, verb, "--no-block", unit)


def _never_started(unit: str, state: str) -> Failure:
    return Failure(
        "k3s.start-timeout",
        f"systemd did not start {unit}",
        state,
        f"see systemctl list-jobs and journalctl -u {unit} on the host",
    )


async def keep_start(task: Task) -> None:
    """Note what the process was started with while its files still say so: before one that a start reads changes.

    Somebody else started it (a boot): there is no record, and what is written without a restart, such as labels, would
    look as if it had been started with something else.
    """
    k3s = task.facts.k3s
    running = k3s.running
    unit = task.effective.unit
    if unit is None or running is None or running.source != "unchanged" or running.digests is None:
        return
    document = running_record(unit.invocation_id, running.digests)
    document["large_files"] = large_files(k3s, await task.host.system.now())
    await _write_record(task.host.system, task.request.unit, document)


async def _write_record(system: System, unit: str, document: Dict[str, object]) -> None:
    await system.make_directory(paths.RUN_DIRECTORY, 0o700)
    await system.write(paths.running_record(unit), json.dumps(document).encode(), 0o600)


async def record_start(task: Task, unit: str) -> None:
    """Note what the unit's running process was started with, for the facts of later runs."""
    system = task.host.system
    now = await system.now()
    # Of this host's K3s only: the machine is the same, and its cluster cannot answer yet.
    k3s = await k3s_facts(system, await ask_systemd(system))
    found = next((item for item in k3s.units if item.name.split(".")[0] == unit), None)
    if found is None or k3s.on_disk is None:
        return
    document = running_record(found.invocation_id, k3s.on_disk)
    document["large_files"] = large_files(k3s, now)
    await _write_record(system, unit, document)


def running_record(invocation_id: str, digests: Digests) -> Dict[str, object]:
    """PURE: the record that facts read back (`facts.model.Running`)."""
    return {"schema": 1, "program": __version__, "invocation_id": invocation_id, "digests": encode(digests)}


async def wait_ready(task: Task, change: Change) -> None:
    state = await unit_state.state(task.host.system, task.request.unit)
    started = await _started(task, state.invocation_id)
    await wait_until_ready(task.host, task.request, task.desired.node_name, started, change.id)


async def watch(task: Task, change: Change) -> None:
    """Watch what a restart of this run has come to."""
    request = task.request
    if request.watch is None:
        return
    state = await unit_state.state(task.host.system, request.unit)
    started = await _started(task, state.invocation_id)
    node, before = task.desired.node_name, task.seen.ready_pods
    await watch_node(task.host, request, request.watch, node, before=before, since=started, change=change.id)


async def _started(task: Task, invocation_id: str) -> float:
    """Return when the unit was started (Unix seconds): the run record's age, else what the first facts said."""
    unit = task.effective.unit
    if unit is not None and unit.invocation_id == invocation_id and unit.started:
        return unit.started
    record = await task.host.system.stat(paths.running_record(task.request.unit))
    return min(record.changed, await task.host.system.now()) if record is not None else 0.0
