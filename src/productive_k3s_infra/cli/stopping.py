"""Signals that end a run: the first one in order, the second at once, whatever the run is waiting for."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from productive_k3s_infra.errors import stopped

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE = 2
_MOST_BYTES = 64


def run_until_stopped(work: Coroutine[Any, Any, T], stop_answers: Callable[[], None]) -> T:
    """Run an operation to its end. Ctrl-C, SIGTERM and SIGHUP cancel it; what the hosts are at is finished there.

    `stop_answers` ends the wait for an answer, in whatever thread that is. A second signal cancels what the first one
    left running, a third waits for nothing. Raises Interrupted.
    """
    running = _Running()

    def stop() -> None:
        stop_answers()
        running.cancel()

    try:
        with _heard(stop):
            return asyncio.run(running.run(work))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise stopped() from None


class _Running:
    """The task of a run, which another thread may cancel, also before it began."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        with self._guard:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._cancelled and self._task is not None:
                self._task.cancel()
        try:
            return await work
        finally:
            with self._guard:
                self._task = None

    def cancel(self) -> None:
        with self._guard:
            self._cancelled = True
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)


@contextmanager
def _heard(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` for each signal, in a thread of its own.

    The kernel gives a signal to any thread, and Python's handler runs when the main thread next runs Python. That may
    be long: a question waits in the main thread, and stops the loop from turning as well. So the C handler's own word
    is listened to, the wake-up descriptor.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    listener = threading.Thread(target=_listen, args=(read, stop), name="signals", daemon=True)
    listener.start()
    count = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > _AT_ONCE:
            raise KeyboardInterrupt

    before = {}
    woken_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in _SIGNALS:
        # nohup(1) has a program ignore SIGHUP that shall outlive its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken_before)
        os.close(write)
        listener.join()


def _listen(descriptor: int, stop: Callable[[], None]) -> None:
    while heard := os.read(descriptor, _MOST_BYTES):
        for _signal in heard:
            stop()
    os.close(descriptor)
