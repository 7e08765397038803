"""Locks between processes: a file or folder, one holder, freed by the kernel when the holder dies (flock(2))."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from productive_k3s_infra.errors import Locked

_POLL_SECONDS = 0.05
_FOLDER_SECONDS = 10.0
_MOST_BYTES = 4096


def is_locked_by_us(descriptor: int) -> bool:
    """Try to lock an open file or folder; say whether that worked. It does not wait. Raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def hold(
    path: Path,
    what: str,
    doing: str,
    *,
    timeout_seconds: float = 0.0,
    on_wait: Callable[[str], None] = lambda _line: None,
) -> Iterator[None]:
    """Hold the lock file of `what` for the time of the block; it says who does `doing` there, and since when.

    The file may be removed by its holder; whoever waited for it then takes a new one. Raises Locked, naming the holder,
    after `timeout_seconds`, and OSError where the file cannot be made.
    """
    descriptor = _take(path, what, timeout_seconds, on_wait)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _describe(doing), 0)
        yield
    finally:
        # A description without a holder would be a lie; the lock goes with the descriptor in any case.
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


@contextmanager
def hold_folder(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder for the moment in which a file of it is read and written; nothing new comes to lie in it.

    Raises Locked after ten seconds. Where the file system locks no folders (NFS), it is not held.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # whatever is wrong with the folder, its file says better
        return
    try:
        deadline = time.monotonic() + _FOLDER_SECONDS
        while not _is_held(descriptor):
            if time.monotonic() > deadline:
                raise Locked(
                    f"another process is writing {what}",
                    where=str(folder),
                    evidence=f"it holds the folder for more than {_FOLDER_SECONDS:g} s",
                    remedy="run it again when that process has finished",
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _is_held(folder: int) -> bool:
    try:
        return is_locked_by_us(folder)
    except OSError:
        return True


def _take(path: Path, what: str, timeout_seconds: float, on_wait: Callable[[str], None]) -> int:
    deadline = time.monotonic() + timeout_seconds
    waiting = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if is_locked_by_us(descriptor):
                if is_named(descriptor, path):
                    return descriptor
                holder = None  # its last holder removed it in between: there may be a new one
            else:
                holder = _read_holder(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if holder is None:
            continue
        if time.monotonic() >= deadline:
            raise _locked(path, what, holder)
        if not waiting:
            on_wait(f"waiting for process {holder.get('pid', 'unknown')}, which is working on {what}")
            waiting = True
        time.sleep(_POLL_SECONDS)


def is_named(descriptor: int, path: Path) -> bool:
    """Say whether a locked file still has its name: a holder may remove it, and others then lock its successor."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _describe(doing: str) -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "doing": doing, "user": _user(), "since": since}).encode()


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _read_holder(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, _MOST_BYTES, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _locked(path: Path, what: str, holder: dict[str, Any]) -> Locked:
    pid, doing = holder.get("pid", "unknown"), holder.get("doing", "?")
    return Locked(
        f"another pk3s is working on {what}",
        where=str(path),
        evidence=f"process {pid}: {doing}, user {holder.get('user', '?')}, since {holder.get('since', '?')}",
        remedy=f"wait for it to finish; if it hangs, stop it: kill {pid}" if holder else "wait for it to finish",
    )
