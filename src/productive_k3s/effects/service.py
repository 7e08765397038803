"""What systemd is told to do with a unit."""

from __future__ import annotations

from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.system import System
from productive_k3s.facts.unit_state import systemctl_failure

_TIMEOUT_SECONDS = 30.0


async def systemctl(system: System, *arguments: str) -> None:
    """Run systemctl; what it refuses is a ContractError."""
    done = await system.run(("systemctl", *arguments), timeout=_TIMEOUT_SECONDS)
    if done.returncode != 0:
        raise ContractError(systemctl_failure(arguments, done))
