"""The systemd unit: what to tell systemd, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from productive_k3s.failure import ContractError, Failure
from productive_k3s.system import System

_TIMEOUT_SECONDS = 30.0
_PROPERTIES = (
    "LoadState,NeedDaemonReload,"
    "ActiveState,SubState,NRestarts,InvocationID,MainPID,ExecMainStatus,ExecMainStartTimestampMonotonic"
)


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
        again = f", started again {self.restarts} times" if self.restarts else ""
        return f"unit {self.active} ({self.sub}){again}"


async def systemctl(system: System, *arguments: str) -> str:
    """Run systemctl and return its output; what it refuses is a ContractError."""
    done = await system.run(("systemctl", *arguments), timeout=_TIMEOUT_SECONDS)
    if done.returncode != 0:
        raise ContractError(
            Failure(
                code="host.systemctl-failed",
                what=f"systemctl {' '.join(arguments)} failed",
                evidence=" ".join(done.stderr.split()) or f"status {done.returncode}",
                remedy="see systemctl status and journalctl -xe on the host",
            )
        )
    return done.stdout


async def state(system: System, unit: str) -> UnitState:
    """Ask systemd how the unit is."""
    text = await systemctl(system, "show", unit, "-p", _PROPERTIES)
    values: Dict[str, str] = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
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


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


async def journal(system: System, unit: str, since: float) -> Tuple[str, ...]:
    """Return the unit's last journal lines since a time (Unix seconds)."""
    done = await system.run(
        ("journalctl", "-u", unit, f"--since=@{int(since)}", "-n", "300", "-o", "cat", "--no-pager", "-q"),
        timeout=_TIMEOUT_SECONDS,
    )
    return tuple(line for line in done.stdout.splitlines() if line.strip()) if done.returncode == 0 else ()
