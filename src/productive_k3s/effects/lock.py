"""One run at a time changes a host."""

from __future__ import annotations

from typing import Optional

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.k3s import paths

_LOCK_WAIT_SECONDS = 20.0
_TRIAL_WAIT_SECONDS = 30.0


async def take_lock(host: Host) -> Optional[Failure]:
    """Take the host's lock for this run; the failure names who holds it."""
    holder = await host.system.lock(paths.LOCK, _LOCK_WAIT_SECONDS)
    if holder is None:
        return None
    return _locked("another run is working on this host", holder)


async def require_trial_lock(host: Host) -> None:
    """Take the host's lock for trials of a full validation; raises ContractError if another one runs here."""
    holder = await host.system.lock(paths.TRIAL_LOCK, _TRIAL_WAIT_SECONDS)
    if holder is not None:
        raise ContractError(_locked("another full validation is running on this host", holder))


def _locked(what: str, holder: str) -> Failure:
    return Failure("host.locked", what, holder, "wait until it has ended, then run it again", ExitCode.LOCKED)
