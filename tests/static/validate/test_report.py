"""What a report says of all its checks."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from productive_k3s.contract.events import CheckResult
from productive_k3s_infra.validate.report import Report, merge

Severity = Literal["error", "warning", "info"]


def check(name: str, severity: Severity = "error", *, passed: bool = False) -> CheckResult:
    return CheckResult(name, "server-1", passed, severity, "found", "seen", "next")


@pytest.mark.parametrize(
    ("checks", "passed"),
    [
        ((), True),
        ((check("a", passed=True),), True),
        ((check("a", "warning"), check("b", "info")), True),
        ((check("a", passed=True), check("b")), False),
    ],
)
def test_only_an_error_fails_a_report(checks: tuple[CheckResult, ...], passed: bool) -> None:
    assert Report("edge", "quick", checks).passed is passed


def test_what_failed_comes_worst_first_and_otherwise_in_order() -> None:
    checks = (check("w1", "warning"), check("i", "info"), check("e1"), check("w2", "warning"), check("e2"))
    found = Report("edge", "quick", (*checks, check("fine", passed=True))).failed
    assert [item.id for item in found] == ["e1", "e2", "w1", "w2"]


def test_the_document_is_json_and_leaves_nothing_out() -> None:
    report = Report("edge", "full", (check("e1"), check("fine", passed=True)))
    document = json.loads(json.dumps(report.document()))
    assert (document["cluster"], document["scope"], document["passed"]) == ("edge", "full", False)
    assert document["checks"][0] == {
        "id": "e1",
        "subject": "server-1",
        "passed": False,
        "severity": "error",
        "message": "found",
        "evidence": "seen",
        "remedy": "next",
    }
    assert len(document["checks"]) == 2


def test_a_failure_wins_over_a_pass_wherever_it_stands() -> None:
    good, bad = check("a", passed=True), check("a")
    for order in ((good, bad), (bad, good)):
        assert merge("edge", "quick", [[item] for item in order]).checks == (bad,)
