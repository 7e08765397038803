"""PURE: the results of all checks of one run, from hosts and from this computer, as one report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from productive_k3s.contract.events import CheckResult

Scope = Literal["preflight", "quick", "full"]
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Report:
    """All check results of one run. It passed if no check of severity `error` failed."""

    cluster: str
    scope: Scope
    checks: tuple[CheckResult, ...]

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The failed checks that count, worst first and otherwise in the order in which they ran."""
        bad = [check for check in self.checks if not check.passed and check.severity != "info"]
        return tuple(sorted(bad, key=lambda check: _ORDER[check.severity]))

    @property
    def passed(self) -> bool:
        """Whether nothing of severity `error` failed."""
        return all(check.passed or check.severity != "error" for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return the report for `-o json`, nothing left out."""
        return {
            "cluster": self.cluster,
            "scope": self.scope,
            "passed": self.passed,
            "checks": [dict(vars(check)) for check in self.checks],
        }


def merge(cluster: str, scope: Scope, parts: Iterable[Iterable[CheckResult]]) -> Report:
    """Put the results of several hosts into one report. The same question about the same subject appears once.

    Two hosts may judge the same subject (two servers look at all nodes): a failure wins over a pass.
    """
    merged: dict[tuple[str, str], CheckResult] = {}
    for part in parts:
        for check in part:
            key = (check.id, check.subject)
            if key not in merged or (merged[key].passed and not check.passed):
                merged[key] = check
    return Report(cluster, scope, tuple(merged.values()))
