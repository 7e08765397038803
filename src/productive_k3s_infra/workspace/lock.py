"""One pk3s at a time in a cluster directory. The kernel frees the lock of a holder that dies."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from productive_k3s_infra._files import explained
from productive_k3s_infra.errors import Locked
from productive_k3s_infra.workspace.directory import AREA, Workspace, open_workspace

_ATTEMPTS = 20
_MOST_BYTES = 4096


@contextmanager
def hold(workspace: Workspace, verb: str) -> Iterator[None]:
    """Hold the cluster directory, made if it is missing, for the time of the block. It does not wait.

    Raises Locked, naming the holder's process, verb, user and start, while another pk3s has it.
    """
    open_workspace(workspace.cluster_file, workspace.cluster)
    with explained(workspace.lock, AREA):
        descriptor = _take(workspace.lock)
    try:
        with explained(workspace.lock, AREA):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _describe(verb), 0)
        yield
    finally:
        # A description without a holder would be a lie; the lock goes with the descriptor in any case.
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def _take(path: Path) -> int:
    for _attempt in range(_ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise _locked(path, holder) from None
        except BaseException:
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink > 0:
            return descriptor
        os.close(descriptor)  # the cluster directory was destroyed in between, and may be there anew
    raise _locked(path, {})


def _describe(verb: str) -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "verb": verb, "user": _user(), "since": since}).encode()


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


def _locked(path: Path, holder: dict[str, Any]) -> Locked:
    pid, verb = holder.get("pid", "unknown"), holder.get("verb", "?")
    return Locked(
        "another pk3s works on this cluster",
        where=str(path),
        evidence=f"process {pid}: pk3s {verb}, user {holder.get('user', '?')}, since {holder.get('since', '?')}",
        remedy=f"wait for it to end; if it hangs, end it: kill {pid}" if holder else "wait for it to end",
    )
