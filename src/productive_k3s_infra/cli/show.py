"""PURE: values to lines of text, for people. JSON output takes the documents as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from productive_k3s_infra.errors import ClusterFileInvalid, Pk3sError
from productive_k3s_infra.validate.report import Report


def error_lines(error: Pk3sError, journal: str | None = None) -> Iterator[str]:
    """Say what happened, where, the evidence, what to do next, and where the rest is."""
    where = f"{error.where}: " if error.where else ""
    yield f"error: {where}{error.what} [{error.code}]"
    if isinstance(error, ClusterFileInvalid):
        for mistake in error.mistakes:
            yield f"  {mistake}"
    if error.evidence:
        yield f"  seen: {error.evidence}"
    if error.remedy:
        yield f"  next: {error.remedy}"
    if journal:
        yield f"  journal: {journal}"


def report_lines(report: Report) -> Iterator[str]:
    """Show a report: a table of all checks, then what failed with its remedy."""
    rows = [
        ("ok" if check.passed else check.severity, check.id, check.subject, check.message) for check in report.checks
    ]
    yield from table(("", "CHECK", "SUBJECT", "FOUND"), rows)
    for check in report.failed:
        yield f"{check.severity}: {check.subject}: {check.message}"
        if check.evidence:
            yield f"  seen: {check.evidence}"
        if check.remedy:
            yield f"  next: {check.remedy}"
    failed = sum(1 for check in report.failed if check.severity == "error")
    warned = len(report.failed) - failed
    verdict = "valid" if report.passed else "NOT valid"
    counts = f"{len(report.checks)} checks, {failed} failed, {warned} warnings"
    yield f"{report.cluster}: {verdict} ({report.scope}: {counts})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align columns with two blanks between them, as kubectl does."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
