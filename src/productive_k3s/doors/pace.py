"""How long a transfer may take: by its silence and by its size, and never longer than somebody wants it."""

from __future__ import annotations

import time
from typing import Callable, Optional

from productive_k3s.contract.failure import ContractError, Failure

# Raises what ends a transfer: somebody asked to stop, or the deadline of the call is over.
GoingOn = Callable[[], None]
# How often a transfer that is silent looks whether it is still wanted.
LOOK_SECONDS = 0.2
SILENCE_SECONDS = 60.0
# Nobody installs K3s over a line that is slower, on average, after a first grace.
_SLOWEST_BYTES_PER_SECOND = 32 << 10


def nothing_ends_it() -> None:
    """Let a transfer go on."""


class Pace:
    """One transfer under way: a file of any size has its time, and one that hardly comes holds no lock for ever."""

    def __init__(
        self,
        what: str,
        grace: float,
        going_on: GoingOn,
        *,
        silence: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._grace = grace
        self._going_on = going_on
        self._silence = silence
        self._clock = clock
        self._began = self._last = clock()
        self._come = 0

    def came(self, size: int) -> None:
        """Note that so many bytes came, then look."""
        self._come += size
        self._last = self._clock()
        self.look()

    def look(self) -> None:
        """Raise what ends the transfer: a wish to stop, or a ContractError where it is silent or too slow."""
        self._going_on()
        now = self._clock()
        failure: Optional[str] = None
        if now - self._last >= self._silence:
            failure = f"nothing arrived for {now - self._last:.0f} s"
        elif now - self._began >= self._grace + self._come / _SLOWEST_BYTES_PER_SECOND:
            failure = f"only {self._come} bytes arrived in {now - self._began:.0f} s"
        if failure is not None:
            raise ContractError(
                Failure(
                    "artifact.too-slow",
                    "an artifact arrives so slowly that it would never be complete",
                    f"{self._what}: {failure}",
                    "check the network to this host; files that are already staged are not sent again",
                )
            )
