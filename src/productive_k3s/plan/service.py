"""PURE: whether the unit is started, restarted or waited for, and why."""

from __future__ import annotations

from typing import Mapping, Sequence, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.k3s import paths
from productive_k3s.plan.desired import Desired
from productive_k3s.plan.effective import Effective

# What a start depends on, in words.
_PARTS: Mapping[str, str] = {
    "binary": "binary",
    "config": "config",
    "environment": "environment",
    "unit": "unit",
    "registries": "registries",
    "tokens": "token",
    "files": "file of its flags",
}


def service_changes(
    desired: Desired, effective: Effective, before: Tuple[Change, ...], *, config_restarts: bool
) -> Tuple[Change, ...]:
    """Return what happens to the unit after the changes before it; with `config_restarts` K3s reads what is written."""
    name, unit = desired.request.unit, effective.unit
    changes = []
    stopped = unit is None or unit.active_state in ("inactive", "failed", "deactivating")
    read = [change.target for change in before if _is_read_at_start(change, desired, config_restarts=config_restarts)]
    why = "" if _is_joining(desired, effective) else _why_restart(effective, read)
    if stopped:
        reason = "it is not running" if unit is not None and unit.started else "it has never been started"
        changes.append(Change(f"start:{name}", "start-unit", name, reason, "change"))
    elif why:
        changes.append(Change(f"restart:{name}", "restart-unit", name, why, "disrupt"))
    if unit is None or not unit.enabled:
        # After the start: it makes systemd read all units anew, which takes time that K3s can use.
        changes.append(Change(f"enable:{name}", "enable-unit", name, "it is not enabled at boot", "change"))
    if stopped or why or not _is_up(desired, effective):
        reason = "until the node is Ready" if stopped or why else "it was started, but the node is not Ready yet"
        changes.append(Change(f"wait:{name}", "wait-ready", name, reason, "read"))
    watch = desired.request.watch
    if why and not stopped and watch is not None:
        stays = f"K3s must stay up for {watch.seconds:.0f} s, and " if watch.seconds else ""
        reason = f"{stays}pods that were Ready before must be Ready again"
        changes.append(Change(f"watch:{name}", "watch-node", name, reason, "read"))
    return tuple(changes)


def _is_joining(desired: Desired, effective: Effective) -> bool:
    # Stopping a server in the middle of its join can cost the others their quorum (seen on v1.34.3); where it fails,
    # systemd starts it again every 5 s, and then it reads the new files.
    joins = desired.request.role == "server" and desired.request.join is not None
    return joins and effective.unit is not None and effective.unit.active_state == "activating"


def _why_restart(effective: Effective, read: Sequence[str]) -> str:
    if read:
        return f"K3s reads {', '.join(read)} when it starts"
    unit, running, on_disk = effective.unit, effective.facts.k3s.running, effective.facts.k3s.on_disk
    if unit is not None and unit.need_daemon_reload and running is None:
        return "the unit changed since it was started"
    if running is None or on_disk is None:
        return ""
    if running.source == "unknown" or running.digests is None:
        return "files changed after it started, and there is no record of what it was started with"
    differing = [word for part, word in _PARTS.items() if getattr(running.digests, part) != getattr(on_disk, part)]
    return f"it runs with a different {' and '.join(differing)} than the one on disk" if differing else ""


def _is_read_at_start(change: Change, desired: Desired, *, config_restarts: bool) -> bool:
    if change.action in ("install-binary", "write-secret"):
        return True
    if change.action not in ("write-file", "remove-file"):
        return False
    if change.target == paths.CONFIG:
        return config_restarts
    if change.target.startswith(f"{paths.FILES}/"):
        return change.target in desired.read_at_start
    return not change.target.startswith(f"{paths.STAGED}/") and not change.target.endswith(".sh")


def _is_up(desired: Desired, effective: Effective) -> bool:
    if not effective.runs:
        return False
    if desired.request.role == "agent":
        return True
    return effective.node is not None and effective.node.ready
