"""One run at a time changes a host."""

from __future__ import annotations

from typing import Optional

from productive_k3s.contract.failure import Failure
from productive_k3s.doors.host import Host
from productive_k3s.k3s import paths

_LOCK_WAIT_SECONDS = 20.0


async def take_lock(host: Host) -> Optional[Failure]:
    """Take the host's lock for this run; the failure names who holds it."""
    holder = await host.system.lock(paths.LOCK, _LOCK_WAIT_SECONDS)
    if holder is None:
        return None
    return Failure(
        code="host.locked",
        what="another run works on this host",
        evidence=holder,
        remedy="wait until it has ended, then run it again",
        exit_code=7,
    )
