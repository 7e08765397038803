"""PURE: the one table of exit codes, of this program and of pk3s."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a program ends with. A failure carries the one that it leads to."""

    DONE = 0
    BUG = 1
    BAD_INPUT = 2
    PENDING = 3
    """There are changes to be made, and that was asked (`--exit-code`)."""
    REFUSED = 4
    """A veto, a preflight finding, or nobody agreed."""
    FAILED = 5
    """A step or a wait failed."""
    INVALID = 6
    """A validation, or an age that is checked, failed."""
    LOCKED = 7
    INTERRUPTED = 130
    """As a shell says it of a program that SIGINT ended."""
