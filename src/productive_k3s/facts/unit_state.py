"""A systemd unit at one moment, and what it logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Sequence, Tuple

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.system import Completed, Reading


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a unit at one moment.

    `is_known` False: systemd holds no such unit, and so looks for its file when it is asked to start it.
    `needs_reload`: it holds something else than what lies on disk (its unit file or a drop-in), or cannot tell.
    """

    active: str
    sub: str
    restarts: int
    invocation_id: str
    main_pid: int
    exit_status: int
    is_known: bool
    needs_reload: bool

    def __str__(self) -> str:
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        again = f", restarted {times}" if self.restarts else ""
        return f"unit {self.active} ({self.sub}){again}"


async def state(system: Reading, unit: str) -> UnitState:
    """Ask systemd how the unit is; an answer that it refuses is a ContractError."""
    done = await system.ask("unit", unit)
    if done.returncode != 0:
        raise ContractError(systemctl_failure(("show", unit), done))
    values: Dict[str, str] = dict(line.partition("=")[::2] for line in done.stdout.splitlines() if "=" in line)
    is_known = values.get("LoadState") != "not-found"
    return UnitState(
        active=values.get("ActiveState", "unknown"),
        sub=values.get("SubState", ""),
        restarts=_number(values.get("NRestarts", "")),
        invocation_id=values.get("InvocationID", ""),
        main_pid=_number(values.get("MainPID", "")),
        exit_status=_number(values.get("ExecMainStatus", "")),
        is_known=is_known,
        needs_reload=is_known and (values.get("LoadState"), values.get("NeedDaemonReload")) != ("loaded", "no"),
    )


def systemctl_failure(arguments: Sequence[str], done: Completed) -> Failure:
    """PURE: return what it means that systemctl did not do as it was told."""
    return Failure(
        code="host.systemctl-failed",
        what=f"systemctl {' '.join(arguments)} failed",
        evidence=" ".join(done.stderr.split()) or f"status {done.returncode}",
        remedy="see systemctl status and journalctl -xe on the host",
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


async def journal(system: Reading, unit: str, since: float) -> Tuple[str, ...]:
    """Return the unit's last journal lines since a time (Unix seconds)."""
    done = await system.ask("journal", unit, str(int(since)), "300")
    return tuple(line for line in done.stdout.splitlines() if line.strip()) if done.returncode == 0 else ()
