"""What blocks runs in a thread, and nobody goes on before it has ended: not even a run that is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from productive_k3s_infra._settle import SETTLE_SECONDS, settle
from productive_k3s_infra.errors import Interrupted

# A little less than whoever waits for the step, so that what is found here is still heard there.
THREAD_SECONDS = SETTLE_SECONDS - 60.0

T = TypeVar("T")
P = ParamSpec("P")


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run `work` in a thread and return what it does.

    A thread cannot be stopped. When the caller is cancelled this waits for it, at most `THREAD_SECONDS`, and only then
    passes the cancellation on: as long as machines are being changed the cluster stays locked. Raises Interrupted for a
    thread that lasts longer.
    """
    return await finishing(asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named)))


async def finishing(work: asyncio.Task[T], interrupt: Callable[[], None] | None = None) -> T:
    """Wait for work that cannot be cancelled; when the caller is, `interrupt` asks it to come to an end."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if interrupt is not None:
            interrupt()
        in_time = await settle((work,), THREAD_SECONDS)
        work.add_done_callback(_taken)
        if not in_time:
            raise Interrupted(
                "stopped, but a change to the machines is still running",
                evidence=f"its thread did not end within {THREAD_SECONDS:g} s",
                remedy="wait until it ends (pk3s status shows the machines), then run it again",
                code="run.still-working",
            ) from None
        raise


def _taken(work: asyncio.Task[T]) -> None:
    """Look at what became of it, so that asyncio does not warn of an error that nobody asked for."""
    if not work.cancelled():
        work.exception()
