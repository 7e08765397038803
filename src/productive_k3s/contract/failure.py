"""Why something did not work, as a value with a stable code."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from productive_k3s.contract.exit_code import ExitCode

# What an errno of the host's system means for a person: one table, whoever meets it.
_FULL = ("host.disk-full", "there is no space left on the host", "free some space there, then run it again")
_SYSTEM: Dict[int, Tuple[str, str, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: (
        "host.read-only",
        "a file system of the host is read-only",
        "look for the cause in the host's log, remount it read-write, then run it again",
    ),
}
_OTHER = ("host.file-failed", "the host's operating system refused an operation", "check the path and the host's log")


@dataclass(frozen=True)
class Failure:
    """One cause. `code` is stable (`k3s.token-mismatch`) and keys the docs; the rest is for people.

    `evidence` is one line that was seen (a log line, an errno, a value), never a secret.
    `exit_code` is what the program ends with for it.
    """

    code: str
    what: str
    evidence: str = ""
    remedy: str = ""
    exit_code: int = ExitCode.FAILED


def refused(code: str, what: str, evidence: str = "", remedy: str = "") -> Failure:
    """Return why nothing is done here: a veto, or nobody agreed."""
    return Failure(code, what, evidence, remedy, ExitCode.REFUSED)


def bad_input(code: str, what: str, evidence: str = "", remedy: str = "") -> Failure:
    """Return what is wrong with what was asked."""
    return Failure(code, what, evidence, remedy, ExitCode.BAD_INPUT)


class ContractError(Exception):
    """Carries a Failure up to `__main__`, which turns it into the result and the exit code."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what)
        self.failure = failure


def system_failure(error: OSError, *, is_root: Optional[bool] = None) -> Failure:
    """Return what an OSError of the host means for a person, with the path it is about.

    `is_root` says who was refused, None: this process.
    """
    seen = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    if error.errno in (errno.EACCES, errno.EPERM):
        if os.geteuid() == 0 if is_root is None else is_root:
            remedy = "check whether it is immutable (lsattr), and what SELinux or AppArmor denied (journalctl -k)"
            return Failure("host.denied", "the host's operating system refuses this even to root", seen, remedy)
        return refused(
            "host.not-root", "this user does not have the necessary permissions", seen, "run it as root (sudo)"
        )
    code, what, remedy = _SYSTEM.get(error.errno or 0, _OTHER)
    return Failure(code, what, seen, remedy)
