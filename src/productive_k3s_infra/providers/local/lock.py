"""Locks between processes: one file, one holder, released by the kernel when the holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from productive_k3s_infra.errors import Locked

_POLL_SECONDS = 0.05


@contextmanager
def hold(
    path: Path, what: str, *, timeout_seconds: float = 120, on_wait: Callable[[str], None] = lambda _line: None
) -> Iterator[None]:
    """Hold the lock on `what` for the time of the block; raise Locked, naming the holder, after `timeout_seconds`.

    The file may be removed by its holder; whoever waited for it then takes a new one.
    """
    deadline = time.monotonic() + timeout_seconds
    waiting = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # its last holder removed the folder as well, in between
        try:
            if is_taken(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                yield
                return
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
        finally:
            os.close(descriptor)
        if time.monotonic() > deadline:
            raise Locked(
                f"another process works on {what}",
                where=str(path),
                evidence=f"process {holder} holds it for more than {timeout_seconds:g} s",
                remedy="wait for it to end, or end it",
            )
        if not waiting:
            on_wait(f"waiting for process {holder}, which works on {what}")
            waiting = True
        time.sleep(_POLL_SECONDS)


def is_taken(descriptor: int, path: Path) -> bool:
    """Try to lock an open file; say whether that holds, which it does only while the file has its name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        # The file that was waited for may be gone, and another process may hold its successor.
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
