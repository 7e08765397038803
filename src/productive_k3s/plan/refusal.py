"""PURE: how a veto is written."""

from __future__ import annotations

from productive_k3s.contract.failure import Failure


def refuse(code: str, what: str, evidence: str = "", remedy: str = "") -> Failure:
    """Return the failure of a veto."""
    return Failure(code=code, what=what, evidence=evidence, remedy=remedy, exit_code=4)
