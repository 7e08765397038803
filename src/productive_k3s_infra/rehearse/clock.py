"""Time on simulated hosts."""

from __future__ import annotations

from typing import Protocol

_EPOCH = 1_800_000_000.0


class Clock(Protocol):
    """Where a simulated host's time comes from."""

    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds since the host's start."""

    async def sleep(self, seconds: float) -> None:
        """Return when the time has passed."""


class SteppingClock:
    """Time for a host that is alone: who waits moves it on, and never suspends."""

    def __init__(self, now: float = _EPOCH) -> None:
        self._began = now
        self._passed = 0.0

    def now(self) -> float:
        """See Clock."""
        return self._began + self._passed

    def monotonic(self) -> float:
        """See Clock."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        self._passed += seconds
