"""The one bounded loop: look, say what lacks, sleep, until it is well often enough or the time is up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Awaitable, Callable, Generic, TypeVar

from productive_k3s.doors.host import ReadingHost

T = TypeVar("T")
SAY_SECONDS = 1.8


@dataclass(frozen=True)
class Bounds:
    """How long a wait may take and how often it looks, in seconds.

    It ends well after `successes` looks in a row, `sure_interval` apart, at which nothing lacked. It says every
    `say_every` seconds what lacks: drivers take a longer silence for a lost connection. A wait that cleans up hears
    nobody who asks to stop (`may_stop` False).
    """

    deadline: float
    interval: float
    successes: int = 1
    sure_interval: float = 0.1
    say_every: float = SAY_SECONDS
    say_first: bool = True
    may_stop: bool = True


@dataclass(frozen=True)
class Look(Generic[T]):
    """What one look found, and what still lacks ('': nothing). `slower` stretches the sleep until the next one."""

    found: T
    lacking: str = ""
    slower: float = 1.0


@dataclass(frozen=True)
class Waited(Generic[T]):
    """How a wait ended: with the last look, after so many seconds. `is_done` False: the time was up."""

    found: T
    lacking: str
    seconds: float
    is_done: bool


async def wait_until(
    host: ReadingHost, look: Callable[[float], Awaitable[Look[T]]], bounds: Bounds, change: str = ""
) -> Waited[T]:
    """Look, with the seconds since the begin, until nothing lacks; what it means that the time was up is the caller's.

    A look that sees that no waiting helps raises ContractError with the cause, which ends the wait early. Raises
    ContractError (exit 130) if somebody asked to stop. There is always one look, also with a deadline of 0.
    """
    began = await host.system.monotonic()
    said = began if not bounds.say_first else began - bounds.say_every
    in_a_row = 0
    while True:
        seen = await look(await host.system.monotonic() - began)
        in_a_row = 0 if seen.lacking else in_a_row + 1
        now = await host.system.monotonic()
        is_done = in_a_row >= bounds.successes
        if is_done or now - began >= bounds.deadline:
            return Waited(seen.found, seen.lacking, now - began, is_done)
        if now - said >= bounds.say_every:
            host.emit("waiting", seen.lacking or "all well; checking again to be sure", change)
            said = now
        if bounds.may_stop:
            host.require_going_on()
        await host.system.sleep(bounds.sure_interval if in_a_row else bounds.interval * seen.slower)
