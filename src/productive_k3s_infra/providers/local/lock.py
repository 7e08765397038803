"""Locks on what machines of this computer share; a lock's folder may come and go with its last holder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from productive_k3s_infra import _flock


@contextmanager
def hold(
    path: Path, what: str, *, timeout_seconds: float = 120, on_wait: Callable[[str], None] = lambda _line: None
) -> Iterator[None]:
    """Hold the lock on `what` for the time of the block; raise Locked, naming the holder, after `timeout_seconds`.

    The file may be removed by its holder; whoever waited for it then takes a new one.
    """
    with ExitStack() as held:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _flock.hold(path, what, f"work on {what}", timeout_seconds=timeout_seconds, on_wait=on_wait)
            try:
                held.enter_context(lock)
                break
            except FileNotFoundError:
                continue  # its last holder removed the folder as well, in between
        yield
