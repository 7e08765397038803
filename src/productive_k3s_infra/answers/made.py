"""PURE: what verbs came to, as the documents that they answer with."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.answers.model import (
    ApplyAnswer,
    DestroyAnswer,
    ErrorAnswer,
    HostPart,
    InitAnswer,
    InventoryAnswer,
    KubeconfigAnswer,
    LeftPart,
    NodeAnswer,
    PlanAnswer,
    Problem,
    ReportPart,
    StatusAnswer,
    StepPart,
    SupportAnswer,
    ValidateAnswer,
)
from productive_k3s_infra.cluster_file.mistake import Mistake
from productive_k3s_infra.errors import ClusterFileInvalid, Pk3sError

# Documents are made of what verbs return; making them loads no verb.
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from productive_k3s_infra.execute.model import StepResult
    from productive_k3s_infra.operations.applied import Applied
    from productive_k3s_infra.operations.destroyed import Destroyed
    from productive_k3s_infra.operations.from_host import Adopted
    from productive_k3s_infra.operations.inventory import Written
    from productive_k3s_infra.operations.node import ActedOnNode
    from productive_k3s_infra.operations.node_status import Status
    from productive_k3s_infra.operations.plan import Planned
    from productive_k3s_infra.operations.support import Supported
    from productive_k3s_infra.validate.report import Report


_SILENT = Failure("host.no-result", "the step failed, and no reason was reported")


def problem(error: Pk3sError) -> Problem:
    """Return an error as documents say it; the mistakes of a cluster file each with file, line and column."""
    mistakes = error.mistakes if isinstance(error, ClusterFileInvalid) else ()
    return Problem(
        code=error.code,
        what=error.what,
        where=error.where,
        evidence=error.evidence,
        remedy=error.remedy,
        journal=error.journal or None,
        mistakes=tuple(item for item in mistakes if isinstance(item, Mistake)),
    )


def error_answer(error: Pk3sError) -> ErrorAnswer:
    """Return the document of a command that ended with an error."""
    return ErrorAnswer(exit_code=int(error.exit_code), error=problem(error))


def plan_answer(planned: Planned, *, exit_code: int) -> PlanAnswer:
    """Return the document of `pk3s plan`; the exit code depends on what was asked (`--exit-code`)."""
    return PlanAnswer(
        exit_code=int(exit_code),
        error=None if planned.preflight.passed else _of_report(planned.preflight),
        limit=planned.plan.limit,
        plan=planned.plan,
        preflight=report_part(planned.preflight),
        out=_shown(planned.out),
    )


def apply_answer(applied: Applied) -> ApplyAnswer:
    """Return the document of `pk3s apply`."""
    journal = _shown(applied.journal)
    return ApplyAnswer(
        exit_code=int(applied.exit_code),
        error=_why_not_applied(applied, journal),
        seconds=applied.seconds,
        journal=journal,
        limit=applied.plan.limit,
        plan=applied.plan,
        preflight=report_part(applied.preflight),
        results=_steps(applied.results),
        as_before=applied.as_before,
        report=report_part(applied.report) if applied.report is not None else None,
        troubles=applied.troubles,
        saved=_shown(applied.saved),
        done_before=applied.done_before,
    )


def status_answer(status: Status, differences: tuple[str, ...], *, exit_code: int) -> StatusAnswer:
    """Return the document of `pk3s status`; the exit code depends on what was asked (`--check`)."""
    names = [item.name for item in fields(HostPart)]
    hosts = tuple(HostPart(**{name: getattr(host, name) for name in names}) for host in status.hosts)
    return StatusAnswer(
        exit_code=int(exit_code),
        error=_of_status(status, differences, exit_code) if exit_code else None,
        cluster=status.cluster,
        hosts=hosts,
        undeclared_nodes=status.undeclared_nodes,
        differences=differences,
        verdict=status.verdict,
    )


def validate_answer(report: Report) -> ValidateAnswer:
    """Return the document of `pk3s validate`."""
    return ValidateAnswer(
        exit_code=int(ExitCode.DONE if report.passed else ExitCode.INVALID),
        error=None if report.passed else _of_report(report),
        cluster=report.cluster,
        scope=report.scope,
        passed=report.passed,
        checks=report.checks,
    )


def kubeconfig_answer(path: Path, context: str) -> KubeconfigAnswer:
    """Return the document of `pk3s kubeconfig`."""
    return KubeconfigAnswer(exit_code=0, path=str(path), context=context, changed=None, current=None, backup=None)


def node_answer(acted: ActedOnNode) -> NodeAnswer:
    """Return the document of `pk3s cordon`, `drain` and `uncordon`."""
    said, journal = acted.result.result, _shown(acted.journal)
    data = (said.data or {}) if said is not None else {}
    failure = acted.result.failure
    return NodeAnswer(
        exit_code=int(acted.exit_code),
        error=_of_failure(acted.result.step.subject, failure, journal) if failure is not None else None,
        verb=acted.verb,
        node=acted.result.step.subject,
        server=acted.result.step.host,
        outcome=said.outcome if said is not None else acted.result.outcome,
        seconds=acted.result.seconds,
        notes=said.notes if said is not None else (),
        evicted=data.get("evicted"),
        alone=tuple(data["alone"]) if "alone" in data else None,
        failure=failure,
        journal=journal,
    )


def inventory_answer(written: Written) -> InventoryAnswer:
    """Return the document of `pk3s inventory`."""
    return InventoryAnswer(
        exit_code=int(written.exit_code),
        error=None if written.preflight.passed else _of_report(written.preflight),
        folder=str(written.folder),
        changed=written.changed,
        secrets=written.secrets,
        notes=written.notes,
        preflight=report_part(written.preflight),
    )


def support_answer(supported: Supported) -> SupportAnswer:
    """Return the document of `pk3s support`."""
    return SupportAnswer(exit_code=0, path=str(supported.path), files=supported.files, missing=supported.missing)


def destroy_answer(destroyed: Destroyed) -> DestroyAnswer:
    """Return the document of `pk3s destroy`."""
    first = next(iter(destroyed.left), None)
    return DestroyAnswer(
        exit_code=int(destroyed.exit_code),
        error=_of_failure(first.host, first.failure) if first is not None else None,
        gone=destroyed.gone,
        clean=destroyed.clean,
        left=tuple(LeftPart(what=left.what, host=left.host, failure=left.failure) for left in destroyed.left),
        results=_steps(destroyed.results),
    )


def init_answer(file: Path, version: str) -> InitAnswer:
    """Return the document of `pk3s init`."""
    return InitAnswer(exit_code=0, file=str(file), version=version, remarks=(), plan=None)


def adopted_answer(adopted: Adopted) -> InitAnswer:
    """Return the document of `pk3s init --from-host`."""
    version = adopted.cluster.server.facts.k3s.binary_version
    remarks = adopted.content.remarks
    return InitAnswer(exit_code=0, file=str(adopted.file), version=version, remarks=remarks, plan=adopted.plan)


def report_part(report: Report) -> ReportPart:
    """Return a report, nothing left out."""
    return ReportPart(cluster=report.cluster, scope=report.scope, passed=report.passed, checks=report.checks)


def _steps(results: Iterable[StepResult]) -> tuple[StepPart, ...]:
    return tuple(
        StepPart(
            step=result.step.id,
            outcome=result.outcome,
            seconds=result.seconds,
            changes=tuple(change.id for change in result.result.changes) if result.result else (),
            failure=result.failure,
            skipped_for=result.skipped_for,
        )
        for result in results
    )


def _of_status(status: Status, differences: tuple[str, ...], exit_code: int) -> Problem:
    remedy = "check the note of each host"
    if exit_code == ExitCode.FAILED:
        failure = Failure("status.not-reached", status.verdict, "", remedy)
        return _of_failure(", ".join(status.unreached), failure)
    if status.not_ready and not status.unreached:
        failure = Failure("status.not-ready", status.verdict, "", remedy, ExitCode.INVALID)
        return _of_failure(", ".join(status.not_ready), failure)
    said = "; ".join(differences)
    other = Failure("status.not-as-declared", "the cluster is not as declared", said, "pk3s plan", ExitCode.INVALID)
    return _of_failure(status.cluster, other)


def _why_not_applied(applied: Applied, journal: str | None) -> Problem | None:
    """Return the reason for the exit code: it is found in the same order as that is."""
    if not applied.preflight.passed:
        return _of_report(applied.preflight, journal)
    for result in applied.results:
        if result.outcome == "failed":
            return _of_failure(result.step.id, result.failure or _SILENT, journal)
    if applied.report is not None and not applied.report.passed:
        return _of_report(applied.report, journal)
    return next((_of_failure(applied.plan.cluster, trouble, journal) for trouble in applied.troubles), None)


def _of_report(report: Report, journal: str | None = None) -> Problem:
    """Return the worst check that failed."""
    worst = report.failed[0]
    return Problem(
        code=worst.id,
        what=worst.message,
        where=worst.subject,
        evidence=worst.evidence,
        remedy=worst.remedy,
        journal=journal,
    )


def _of_failure(where: str, failure: Failure, journal: str | None = None) -> Problem:
    return Problem(
        code=failure.code,
        what=failure.what,
        where=where,
        evidence=failure.evidence,
        remedy=failure.remedy,
        journal=journal,
    )


def _shown(path: Path | None) -> str | None:
    return str(path) if path is not None else None
