"""How long a push of files to a host may take: by their size, and only for as long as bytes are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from productive_k3s_infra.errors import StepFailed

T = TypeVar("T")

# The host itself gives up below that (productive_k3s.doors.pace): what remains to each of 16 hosts of 4 Mbit/s.
SLOWEST_BYTES_PER_SECOND = 32 << 10
# Beside the bytes: another run may hold the host, and what arrived is verified there.
_BESIDE_SECONDS = 600.0
STALL_SECONDS = 300.0


def push_seconds(sizes: Iterable[int]) -> float:
    """PURE: return the deadline of a push of files with these sizes in bytes. A stall ends it sooner."""
    return _BESIDE_SECONDS + sum(sizes) / SLOWEST_BYTES_PER_SECOND


async def while_taken(
    host: str,
    chunks: AsyncIterator[bytes],
    push: Callable[[AsyncIterator[bytes]], Awaitable[T]],
    *,
    stall_seconds: float = STALL_SECONDS,
) -> T:
    """Push the chunks, and give up when the host takes no more of them for `stall_seconds`.

    Raises StepFailed (`artifact.stalled`), saying how much it took. The time before the first chunk is asked for and
    after the last one is given is the call's own.
    """
    taken = 0

    async def watched(limit: asyncio.Timeout) -> AsyncIterator[bytes]:
        nonlocal taken
        loop = asyncio.get_running_loop()
        async for chunk in chunks:
            limit.reschedule(loop.time() + stall_seconds)
            yield chunk
            taken += len(chunk)
        limit.reschedule(None)

    try:
        async with asyncio.timeout(None) as limit:
            return await push(watched(limit))
    except TimeoutError as error:
        raise StepFailed(
            f"the host takes no more of what is pushed, for {stall_seconds:g} s",
            where=host,
            evidence=f"it accepted {taken / 1e6:.0f} MB",
            remedy="check its disk and its network, then run it again: complete files are not sent twice",
            code="artifact.stalled",
        ) from error
