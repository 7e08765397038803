"""`pk3s logs NODE`: what K3s' units said on a node's host, without secrets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.hosts.fleet.gathering import failed
from productive_k3s_infra.hosts.fleet.session import HostSession
from productive_k3s_infra.operations.one_host import host_called
from productive_k3s_infra.operations.session import Session, fleet_of

LINES = 100
_SECONDS = 60.0
_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Logs:
    """The lines of each unit by its name; `notes` say what could not be read."""

    node: str
    units: dict[str, str]
    notes: tuple[str, ...] = ()


def since_of(text: str) -> int:
    """Return what `productive-k3s logs --since` takes for `10m`, `2h` or an ISO time; raises BadInput else."""
    ago = _AGO.fullmatch(text)
    if ago:
        return -max(1, int(ago[1]) * _UNITS[ago[2]])
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise BadInput(
            "this is not a time",
            where="--since",
            evidence=text,
            remedy="use 30s, 10m, 2h or 3d for a time before now, or a date and time: 2026-01-31T12:00:00+01:00",
            code="logs.since",
        ) from None


async def get_logs(session: Session, node: str, *, lines: int = LINES, since: str = "") -> Logs:
    """Return the last lines. Raises BadInput for a name that is no node's, StepFailed where nothing is to be read."""
    async with log_host(session, node) as host:
        return await ask_for_logs(host, node, lines, since_of(since) if since else None)


@asynccontextmanager
async def log_host(session: Session, node: str) -> AsyncIterator[HostSession]:
    """Give the node's host; no other is asked anything."""
    _, alone = await host_called(session, node)
    async with fleet_of(session, alone) as fleet:
        yield await fleet.session(node)


async def ask_for_logs(host: HostSession, node: str, lines: int, since: int | None) -> Logs:
    """Ask the host program. `since` is as that takes it."""
    words = ("--lines", str(lines), *((f"--since={since}",) if since is not None else ()))
    result = await host.call("logs", arguments=words, deadline_seconds=_SECONDS)
    if result.outcome != "done":
        raise failed(node, result)
    units = {str(unit): str(text) for unit, text in (result.data or {}).items()}
    if not units:
        raise StepFailed(
            "K3s is not installed on this host",
            where=node,
            remedy="run pk3s status; pk3s apply installs it",
            code="logs.none",
        )
    return Logs(node, units, tuple(result.notes))
