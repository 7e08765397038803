"""PURE: values to lines of text, for people. What programs get is made in the room `answers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from productive_k3s_infra.errors import ClusterFileInvalid, Pk3sError
from productive_k3s_infra.plan.text import body_lines, limit_lines, note_lines, summary, unreached_lines

# Verbs load what they need; showing loads none of them.
if TYPE_CHECKING:
    from productive_k3s.contract.failure import Failure
    from productive_k3s_infra.execute.model import StepResult
    from productive_k3s_infra.operations.applied import Applied
    from productive_k3s_infra.operations.destroyed import Destroyed
    from productive_k3s_infra.operations.inventory import Written
    from productive_k3s_infra.operations.node_status import Status
    from productive_k3s_infra.operations.plan import Planned
    from productive_k3s_infra.validate.report import Report

__all__ = [
    "applied_lines",
    "destroyed_lines",
    "error_lines",
    "findings_lines",
    "planned_lines",
    "report_lines",
    "status_lines",
    "table",
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
    yield f"  more: pk3s explain {error.code}"
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
    yield f"  more: pk3s explain {failure.code}"


def planned_lines(planned: Planned) -> Iterator[str]:
    """Show a plan with what the preflight found; the summary says what applying it would come to."""
    yield from findings_lines(planned.preflight)
    yield from body_lines(planned.plan, refusals=False)
    errors = sum(1 for check in planned.preflight.failed if check.severity == "error")
    if not errors:
        yield summary(planned.plan)
        yield from limit_lines(planned.plan)
        return
    names = ", ".join(item.host for item in planned.plan.unreached)
    count = "1 error" if errors == 1 else f"{errors} errors"
    yield f"Apply would be refused: {count} (see above){f'; not reached: {names}' if names else ''}."
    yield from limit_lines(planned.plan)


def applied_lines(applied: Applied) -> Iterator[str]:
    """Show how an apply ended: findings that stopped it, or what was done, the report, and where the journal is."""
    yield from findings_lines(applied.preflight)
    if not applied.results and applied.preflight.passed:
        yield from body_lines(applied.plan)
        yield summary(applied.plan)
    elif applied.preflight.passed:
        yield from unreached_lines(applied.plan)
        yield from note_lines(applied.plan)
    for result in applied.results:
        yield from _result_lines(result)
    if applied.report is not None:
        yield from report_lines(applied.report)
    for trouble in applied.troubles:
        yield from failure_lines(applied.plan.cluster, trouble)
    if applied.as_before:
        yield f"on the settings of before, as their turn did not come: {', '.join(applied.as_before)}"
    if applied.journal is not None and applied.exit_code:
        yield f"journal: {applied.journal}"
    yield _verdict(applied)
    yield from limit_lines(applied.plan)


def _verdict(applied: Applied) -> str:
    """Return what became of the run, in one sentence that is true."""
    done = sum(1 for result in applied.results if result.outcome == "done")
    count = "1 step" if done == 1 else f"{done} steps"
    if not applied.preflight.passed:
        before = f" {count} on machines had been done before." if done else ""
        return f"Refused: nothing was changed on any host.{before}"
    failed = sum(1 for result in applied.results if result.outcome == "failed")
    skipped = sum(1 for result in applied.results if result.outcome == "skipped")
    if failed:
        return f"Not applied: {failed} of {len(applied.results)} steps failed, {skipped} skipped, {done} done."
    if applied.report is not None and not applied.report.passed:
        return f"Applied in {applied.seconds:.1f} s: {count}; the cluster is NOT valid."
    tail = f"; {len(applied.troubles)} things went wrong beside (see above)" if applied.troubles else ""
    return f"Applied in {applied.seconds:.1f} s: {count}{tail}."


def _result_lines(result: StepResult) -> Iterator[str]:
    said = result.result
    if result.failure is not None:
        yield from failure_lines(result.step.id, result.failure)
    elif result.step.action == "drain-node" and said is not None and (said.data or {}).get("alone"):
        yield f"note: {result.step.subject}: nobody makes these pods anew: {', '.join((said.data or {})['alone'])}"
    elif result.step.action == "uncordon-node" and said is not None and said.outcome == "unchanged":
        yield from (f"note: {note}" for note in said.notes)
    elif result.outcome == "skipped":
        yield f"skipped {result.step.id}: {result.skipped_for} did not end well"


def status_lines(status: Status) -> Iterator[str]:
    """Show one line a host; the last line says what is known of all of them together."""
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
    yield status.verdict


def destroyed_lines(destroyed: Destroyed) -> Iterator[str]:
    """Show what went, and what is left where, with the way to clean it."""
    for left in destroyed.left:
        yield from failure_lines(left.host, left.failure)
    if destroyed.clean:
        yield f"Nothing of K3s was there: {', '.join(destroyed.clean)}."
    if destroyed.gone:
        yield f"Destroyed: {', '.join(destroyed.gone)}."
    if destroyed.left:
        yield f"Left: {'; '.join(f'{left.what} on {left.host}' for left in destroyed.left)} (see above)."
    elif not destroyed.gone and not destroyed.clean:
        yield "Destroyed: nothing was there."


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


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align columns with two blanks between them, as kubectl does."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
