"""PURE: what an errno of the host's system means for a person. One table, whoever meets it."""

from __future__ import annotations

import errno
from typing import Dict, Tuple

from productive_k3s.failure import Failure

_FULL = ("host.disk-full", "there is no space left on the host", "make room there, then run it again")
_SYSTEM: Dict[int, Tuple[str, str, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: (
        "host.read-only",
        "a file system of the host is read-only",
        "see the host's log for why it was mounted so, mount it read-write, then run it again",
    ),
}
_OTHER = ("host.file-failed", "the host's system refused what had to be done", "see the path, and the host's log")


def system_failure(error: OSError) -> Failure:
    """Return the failure, with the path it is about."""
    seen = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return Failure("host.not-root", "this user may not do what has to be done", seen, "run it as root (sudo)", 4)
    code, what, remedy = _SYSTEM.get(error.errno or 0, _OTHER)
    return Failure(code, what, seen, remedy)
