"""PURE: values to lines of text, for people. What programs get is made in the room `answers`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from productive_k3s_infra.errors import ClusterFileInvalid, Pk3sError
from productive_k3s_infra.plan.folding import folded
from productive_k3s_infra.plan.lines import Complaint, Line, cause_lines
from productive_k3s_infra.plan.marks import counted
from productive_k3s_infra.plan.text import body_text, end_text, limit_lines, note_lines, refused_summary, unreached_text

# Verbs load what they need; showing loads none of them.
if TYPE_CHECKING:
    from productive_k3s.contract.events import CheckResult
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
    "last_text",
    "planned_lines",
    "planned_text",
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


_AREAS = {
    "host": "hosts",
    "net": "network",
    "service": "services",
    "node": "nodes",
    "pod": "pods",
    "system": "system pods",
    "certificate": "certificates",
    "api": "API",
    "k3s": "K3s",
}


def report_lines(report: Report, *, full: bool = False) -> Iterator[str]:
    """Show a report: what passed in one line, what failed with its remedy; `full`: a table of all checks first."""
    if full:
        rows = [
            ("ok" if check.passed else check.severity, check.id, check.subject, check.message)
            for check in report.checks
        ]
        yield from table(("", "CHECK", "SUBJECT", "FOUND"), rows)
    else:
        yield from _passed_lines(report)
    yield from findings_lines(report)
    failed = sum(1 for check in report.failed if check.severity == "error")
    warned = counted(len(report.failed) - failed, "warning")
    verdict = "valid" if report.passed else "NOT valid"
    checks = counted(len(report.checks), "check")
    yield f"{report.cluster}: {verdict} ({report.scope}: {checks}, {failed} failed, {warned})"


def _passed_lines(report: Report) -> Iterator[str]:
    areas = Counter(check.id.partition(".")[0] for check in report.checks if check.passed)
    if areas:
        parts = ", ".join(f"{_AREAS.get(area, area)} {number}" for area, number in areas.items())
        yield f"{counted(areas.total(), 'check')} passed: {parts}"


def findings_lines(report: Report) -> Iterator[str]:
    """Show what is wrong, each cause once with its subjects, evidence and remedy; nothing where all is well."""
    return (line.text for line in findings_text(report.failed))


def findings_text(checks: Iterable[CheckResult], *, explained: Collection[str] = ()) -> Iterator[Line]:
    """Show failed checks, those of the same cause together, and once for each id the command that explains it.

    Ids in `explained` are explained elsewhere in the same output.
    """
    told = set(explained)
    for severity, found in groupby(checks, key=lambda check: check.severity):
        causes = [Complaint(one.subject, one.message, one.id, one.evidence, one.remedy) for one in found]
        yield from cause_lines(severity, causes, explained=told)
        told.update(cause.code for cause in causes)


def failure_lines(where: str, failure: Failure) -> Iterator[str]:
    """Show a failure of a host: what, where, the evidence, what to do next."""
    yield f"error: {where}: {failure.what} [{failure.code}]"
    if failure.evidence:
        yield f"  seen: {failure.evidence}"
    if failure.remedy:
        yield f"  next: {failure.remedy}"
    yield f"  more: pk3s explain {failure.code}"


def planned_lines(planned: Planned, *, full: bool = False) -> Iterator[str]:
    """Return the text of `planned_text`."""
    return (line.text for line in planned_text(planned, full=full))


def planned_text(planned: Planned, *, full: bool = False) -> Iterator[Line]:
    """Show a plan with what the preflight found: warnings before the counts, and last what apply would stop at."""
    failed = planned.preflight.failed
    errors = {check.id for check in failed if check.severity == "error"}
    yield from body_text(planned.plan, full=full)
    yield from findings_text((check for check in failed if check.severity != "error"), explained=errors)
    yield from last_text(planned)


def last_text(planned: Planned) -> Iterator[Line]:
    """Show the counts, then who was refused or not reached, and what applying would come to."""
    errors = [check for check in planned.preflight.failed if check.severity == "error"]
    # The plan's refusals and the hosts that were not reached are among the preflight's findings.
    told = {name for check in errors for name in check.subject.split(", ")}
    yield from end_text(planned.plan, told=told, well=not errors)
    yield from findings_text(errors)
    if errors:
        yield Line(refused_summary(len(errors), planned.plan), "bad")
    if planned.out is not None:
        yield Line(f"Saved: pk3s apply {planned.out} does exactly this, or nothing.")


def applied_lines(applied: Applied, *, full: bool = False) -> Iterator[str]:
    """Show how an apply ended: findings that stopped it, or what was done, the report, and where the journal is."""
    return _explained_once(_applied_lines(applied, full=full))


def _applied_lines(applied: Applied, *, full: bool) -> Iterator[str]:
    yield from findings_lines(applied.preflight)
    if not applied.results and applied.preflight.passed:
        yield from (line.text for line in (*body_text(applied.plan, full=full), *end_text(applied.plan)))
    elif applied.preflight.passed:
        yield from note_lines(applied.plan)
    for result in applied.results:
        yield from _result_lines(result)
    if applied.report is not None:
        yield from report_lines(applied.report, full=full)
    for trouble in applied.troubles:
        yield from failure_lines(applied.plan.cluster, trouble)
    if applied.as_before:
        yield f"still on the old settings, because the run did not get to them: {folded(applied.as_before)}"
    if applied.journal is not None and applied.exit_code:
        yield f"journal: {applied.journal}"
    if applied.results and applied.preflight.passed:
        yield from (line.text for line in unreached_text(applied.plan))
    yield _verdict(applied)
    if applied.results or not applied.preflight.passed:
        yield from limit_lines(applied.plan)


def _verdict(applied: Applied) -> str:
    """Return what became of the run, in one sentence that is true."""
    done = sum(1 for result in applied.results if result.outcome == "done")
    count = counted(done, "step")
    if not applied.preflight.passed:
        before = f" {count} on machines had already been done." if done else ""
        return f"Refused: nothing was changed on any host.{before}"
    failed = sum(1 for result in applied.results if result.outcome == "failed")
    skipped = sum(1 for result in applied.results if result.outcome == "skipped")
    if failed:
        return f"Not applied: {failed} of {len(applied.results)} steps failed, {skipped} skipped, {done} done."
    if applied.report is not None and not applied.report.passed:
        return f"Applied in {applied.seconds:.1f} s: {count}; the cluster is NOT valid."
    tail = f"; {counted(len(applied.troubles), 'thing')} also went wrong (see above)" if applied.troubles else ""
    return f"Applied in {applied.seconds:.1f} s: {count}{tail}."


def _result_lines(result: StepResult) -> Iterator[str]:
    said = result.result
    if result.failure is not None:
        yield from failure_lines(result.step.id, result.failure)
    elif result.step.action == "drain-node" and said is not None and (said.data or {}).get("alone"):
        yield f"note: {result.step.subject}: nothing recreates these pods: {', '.join((said.data or {})['alone'])}"
    elif result.step.action == "uncordon-node" and said is not None and said.outcome == "unchanged":
        yield from (f"note: {note}" for note in said.notes)
    elif result.outcome == "skipped":
        yield f"skipped {result.step.id}: {result.skipped_for} did not succeed"


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
        yield f"in the cluster, but not in the file: {folded(status.undeclared_nodes)}"
    yield status.verdict


def destroyed_lines(destroyed: Destroyed) -> Iterator[str]:
    """Show what went, and what is left where, with the way to clean it."""
    return _explained_once(_destroyed_lines(destroyed))


def _destroyed_lines(destroyed: Destroyed) -> Iterator[str]:
    for left in destroyed.left:
        yield from failure_lines(left.host, left.failure)
    if destroyed.clean:
        yield f"K3s was not installed on: {folded(destroyed.clean)}."
    if destroyed.gone:
        yield f"Destroyed: {folded(destroyed.gone)}."
    if destroyed.left:
        yield f"Left: {'; '.join(f'{left.what} on {left.host}' for left in destroyed.left)} (see above)."
    elif not destroyed.gone and not destroyed.clean:
        yield "Nothing to destroy."


def written_lines(written: Written) -> Iterator[str]:
    """Show where the inventory for Ansible is, and which secrets the role wants."""
    yield from findings_lines(written.preflight)
    if not written.preflight.passed:
        yield "Refused: nothing was written."
        return
    yield from (f"note: {note}" for note in written.notes)
    yield f"{written.folder}: {', '.join(written.changed) or 'nothing changed'}"
    if written.secrets:
        yield f"secrets that the role needs in remote_cluster_secrets: {', '.join(written.secrets)}"
    yield f"next: ansible-playbook -i {written.folder}/hosts.yml productive_k3s.infra.cluster"


def _explained_once(lines: Iterable[str]) -> Iterator[str]:
    """Leave out the command that explains a code where it was shown before: many hosts may fail in one way."""
    shown: set[str] = set()
    for line in lines:
        if not line.startswith("  more: ") or line not in shown:
            yield line
            shown.add(line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align columns with two blanks between them, as kubectl does."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
