"""Wait for work that was told to stop, also while somebody says it again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

# As long as a provider's thread may take to come to an end (making machines, with their image), and some more.
SETTLE_SECONDS = 900.0


async def settle(
    tasks: Iterable[asyncio.Task[Any]], seconds: float = SETTLE_SECONDS, *, tell_again: bool = False
) -> bool:
    """Wait until these tasks have ended, whatever came of them; say whether they did in time.

    Being cancelled meanwhile does not end the wait: they have been told to stop already, and what they hold is freed
    after. With `tell_again` each is then cancelled once more: one that saw a first time through ends at the second.
    """
    until = time.monotonic() + seconds
    pending = {task for task in tasks if not task.done()}
    while pending and (left := until - time.monotonic()) > 0:
        try:
            _, pending = await asyncio.wait(pending, timeout=left)
        except asyncio.CancelledError:
            pending = {task for task in pending if not task.done()}
            for task in pending if tell_again else ():
                task.cancel()
    return not pending
