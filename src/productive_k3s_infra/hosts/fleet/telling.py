"""What is told of work on hosts that no step of a plan stands for: looks, validation, files that are fetched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

LOOK = "look"
PORTS = "test the ports"
VALIDATE = "validate"
MACHINES = "check the machines"
RELEASE = "find the release's files"
KUBECONFIG = "fetch the kubeconfig"
COLLECT = "collect facts and logs"
READING = frozenset({LOOK, PORTS, VALIDATE, MACHINES, RELEASE, KUBECONFIG, COLLECT})
"""The activities that change nothing: they are told of all hosts together, steps of a plan one by one."""


class Telling(Protocol):
    """Who is told: the part of `Interaction` that asks nobody anything."""

    def started(self, subject: str, activity: str) -> None: ...

    def progressed(self, subject: str, activity: str) -> None: ...

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None: ...

    def dropped(self, subject: str, activity: str) -> None: ...


@contextmanager
def told(telling: Telling | None, subject: str, activity: str) -> Iterator[None]:
    """Tell that something begins and, however the block is left, that it is over; None: nobody is told.

    What the person ends (Ctrl-C) is dropped: the host did not fail.
    """
    if telling is None:
        yield
        return
    began = time.monotonic()
    telling.started(subject, activity)
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt):
        telling.dropped(subject, activity)
        raise
    except BaseException:
        telling.finished(subject, activity, time.monotonic() - began, failed=True)
        raise
    telling.finished(subject, activity, time.monotonic() - began)


@asynccontextmanager
async def told_together(telling: Telling | None, subject: str, activity: str) -> AsyncIterator[None]:
    """Do as `told` does, for one of several that begin at once: all of them are told of before any goes on."""
    with told(telling, subject, activity):
        await asyncio.sleep(0)
        yield
