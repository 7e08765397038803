"""PURE: whether what a host needs was agreed to, and whether after a run nothing is left to do."""

from __future__ import annotations

from typing import Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.failure import Failure, refused
from productive_k3s.contract.request import Request


def not_agreed(request: Request, changes: Tuple[Change, ...]) -> Tuple[Failure, ...]:
    """Return the failure of changes that nobody agreed to: what was planned is not what is needed by now."""
    agreed = request.agreed
    needed = [item for item in changes if agreed is not None and item.impact != "read" and item.id not in agreed]
    if not needed:
        return ()
    evidence = "; ".join(f"{item.id} ({item.reason})" for item in needed)
    what = "this host needs changes that were not approved"
    return (refused("changes.not-agreed", what, evidence, "make a new plan and approve it"),)


def left_over(changes: Tuple[Change, ...]) -> Tuple[Failure, ...]:
    """Return the failure of a run that ended well and left something to do."""
    if not changes:
        return ()
    return (
        Failure(
            "changes.left-over",
            "the run succeeded, but the host still differs",
            "; ".join(f"{item.id} ({item.reason})" for item in changes),
            "run it again; if it still differs, something else on the host changes it back",
        ),
    )
