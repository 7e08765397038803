"""PURE: values to lines of text, for people. JSON output takes the documents as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from productive_k3s.contract.codec import encode
from productive_k3s_infra.errors import ClusterFileInvalid, Pk3sError
from productive_k3s_infra.plan.text import plan_lines

# Verbs load what they need; showing loads none of them.
if TYPE_CHECKING:
    from productive_k3s.contract.failure import Failure
    from productive_k3s_infra.execute.model import StepResult
    from productive_k3s_infra.operations.apply import Applied
    from productive_k3s_infra.operations.destroy import Destroyed
    from productive_k3s_infra.operations.inventory import Written
    from productive_k3s_infra.operations.status import Status
    from productive_k3s_infra.validate.report import Report

__all__ = [
    "applied_document",
    "applied_lines",
    "destroyed_lines",
    "error_lines",
    "findings_lines",
    "plan_lines",
    "report_lines",
    "status_lines",
    "table",
    "written_document",
    "written_lines",
]


def error_lines(error: Pk3sError) -> Iterator[str]:
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
    if error.journal:
        yield f"  journal: {error.journal}"


def report_lines(report: Report) -> Iterator[str]:
    """Show a report: a table of all checks, then what failed with its remedy."""
    rows = [
        ("ok" if check.passed else check.severity, check.id, check.subject, check.message) for check in report.checks
    ]
    yield from table(("", "CHECK", "SUBJECT", "FOUND"), rows)
    yield from findings_lines(report)
    failed = sum(1 for check in report.failed if check.severity == "error")
    warned = len(report.failed) - failed
    verdict = "valid" if report.passed else "NOT valid"
    counts = f"{len(report.checks)} checks, {failed} failed, {warned} warnings"
    yield f"{report.cluster}: {verdict} ({report.scope}: {counts})"


def findings_lines(report: Report) -> Iterator[str]:
    """Show what is wrong, each finding with its evidence and remedy; nothing where all is well."""
    for check in report.failed:
        yield f"{check.severity}: {check.subject}: {check.message} [{check.id}]"
        if check.evidence:
            yield f"  seen: {check.evidence}"
        if check.remedy:
            yield f"  next: {check.remedy}"


def failure_lines(where: str, failure: Failure) -> Iterator[str]:
    """Show a failure of a host: what, where, the evidence, what to do next."""
    yield f"error: {where}: {failure.what} [{failure.code}]"
    if failure.evidence:
        yield f"  seen: {failure.evidence}"
    if failure.remedy:
        yield f"  next: {failure.remedy}"


def applied_lines(applied: Applied) -> Iterator[str]:
    """Show how an apply ended: findings that stopped it, or what was done, the report, and where the journal is."""
    yield from findings_lines(applied.preflight)
    if not applied.preflight.passed:
        yield "Refused: nothing was changed on any host."
    elif not applied.results:
        yield from plan_lines(applied.plan)
    for result in applied.results:
        yield from _result_lines(result)
    if applied.report is not None:
        yield from report_lines(applied.report)
    if applied.journal is not None and applied.exit_code:
        yield f"journal: {applied.journal}"
    if not applied.exit_code:
        count = "1 step" if len(applied.results) == 1 else f"{len(applied.results)} steps"
        yield f"Applied in {applied.seconds:.1f} s: {count}."


def _result_lines(result: StepResult) -> Iterator[str]:
    if result.failure is not None:
        yield from failure_lines(result.step.id, result.failure)
    elif result.outcome == "skipped":
        yield f"skipped {result.step.id}: {result.skipped_for} did not end well"


def applied_document(applied: Applied) -> dict[str, Any]:
    """Return an apply for `-o json`. Facts of hosts are in the journal's plan, not here."""
    return {
        "exit_code": applied.exit_code,
        "seconds": applied.seconds,
        "journal": str(applied.journal) if applied.journal else None,
        "plan": encode(applied.plan),
        "preflight": applied.preflight.document(),
        "results": [
            {
                "step": result.step.id,
                "outcome": result.outcome,
                "seconds": result.seconds,
                "changes": [change.id for change in result.result.changes] if result.result else [],
                "failure": encode(result.failure),
                "skipped_for": result.skipped_for,
            }
            for result in applied.results
        ],
        "report": applied.report.document() if applied.report else None,
    }


def status_lines(status: Status) -> Iterator[str]:
    """Show one line a host."""
    ready = {True: "Ready", False: "NotReady", None: "-"}
    rows = [
        (
            *(host.name, host.role, host.address or "-", host.machine),
            *(host.service or "-", host.version or "-", ready[host.ready], host.note),
        )
        for host in status.hosts
    ]
    yield from table(("NAME", "ROLE", "ADDRESS", "MACHINE", "SERVICE", "VERSION", "NODE", "NOTE"), rows)
    if status.undeclared_nodes:
        yield f"in the cluster, and not in the file: {', '.join(status.undeclared_nodes)}"


def destroyed_lines(destroyed: Destroyed) -> Iterator[str]:
    """Show what went and what is left."""
    for host, failure in destroyed.failures:
        yield from failure_lines(host, failure)
    yield f"Destroyed: {', '.join(destroyed.gone) or 'nothing was there'}."


def written_lines(written: Written) -> Iterator[str]:
    """Show where the inventory for Ansible is, and which secrets the role wants."""
    yield from findings_lines(written.preflight)
    if not written.preflight.passed:
        yield "Refused: nothing was written."
        return
    yield from (f"note: {note}" for note in written.notes)
    yield f"{written.folder}: {', '.join(written.changed) or 'nothing changed'}"
    if written.secrets:
        yield f"secrets that the role wants in remote_cluster_secrets: {', '.join(written.secrets)}"
    yield f"next: ansible-playbook -i {written.folder}/hosts.yml productive_k3s.infra.cluster"


def written_document(written: Written) -> dict[str, Any]:
    """Return what was written for `-o json`."""
    return {
        "exit_code": written.exit_code,
        "folder": str(written.folder),
        "changed": list(written.changed),
        "secrets": list(written.secrets),
        "notes": list(written.notes),
        "preflight": written.preflight.document(),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align columns with two blanks between them, as kubectl does."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
