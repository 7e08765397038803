"""What an apply that is given a saved plan holds itself to: the plan, and what earlier runs of it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from productive_k3s_infra.errors import Pk3sError, Refused
from productive_k3s_infra.operations.apply_run import ApplyRun
from productive_k3s_infra.operations.assemble import check_hosts
from productive_k3s_infra.operations.saved import machine_digests
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.marks import counted, counts
from productive_k3s_infra.plan.saved import difference_lines, differences, still_replaced
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.workspace.journal import list_journals, read_journal
from productive_k3s_infra.workspace.saved_plan import SavedFile

_MOST_DIFFERENCES = 12


@dataclass(frozen=True)
class Before:
    """The ids of the steps that earlier runs of the same saved plan began, and of those that ended well."""

    ran: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()


async def hold_to_saved(run: ApplyRun) -> None:
    """Agree to what was planned because it is what a saved plan says; raises Refused where the world has changed.

    Nothing happens in a run without one. What its preflight finds comes first: it says why a host was not planned for.
    """
    if run.options.saved is None:
        return
    first = run.agreed is None
    if first:
        _go_on(run, run.options.saved)
        if run.plan.refusals or run.plan.unreached:
            await check_hosts(run)
            if run.over:
                return
    _require_same(run, run.options.saved)
    run.agreed = run.plan


def _go_on(run: ApplyRun, saved: SavedFile) -> None:
    """Find out what this plan has come to before; machines that it made anew are not made anew once more."""
    before = _before(run.session, saved.digest)
    run.reporter.holds_to(saved.digest)
    run.begun = before.ran
    left = still_replaced(saved.content, before.done, machine_digests(run.seen.observed.facts))
    if left != run.seen.situation.replacing:
        run.seen = replace(run.seen, situation=replace(run.seen.situation, replacing=left))
        run.plan = plan_stages(run.seen.situation)
    left_ids = {step.id for step in run.plan.steps}
    run.done_before = tuple(
        step.id for step in saved.content.plan.steps if step.id in before.done and step.id not in left_ids
    )
    note = run.session.interaction.note
    if saved.content.plan.steps:
        note(f"{saved.path}, made {saved.content.made}: {counts(saved.content.plan)}")
    if run.done_before:
        note(f"already done by this plan: {', '.join(run.done_before)}")


def _require_same(run: ApplyRun, saved: SavedFile) -> None:
    found = differences(saved.content.plan, run.plan, {*run.begun, *(result.step.id for result in run.results)})
    if not found:
        return
    made = sum(1 for result in run.results if result.outcome == "done")
    done = f"; {counted(made, 'step')} on machines had already been done, and no host was changed" if made else ""
    raise Refused(
        f"the hosts have changed since the plan was made{done or ', and nothing was changed'}",
        where=str(saved.path),
        evidence=_shown(difference_lines(found)),
        remedy=f"make and review a new plan: pk3s plan --out {saved.path}",
        code="plan.stale",
    )


def _shown(lines: tuple[str, ...]) -> str:
    more = len(lines) - _MOST_DIFFERENCES
    return "; ".join((*lines[:_MOST_DIFFERENCES], *((f"and {more} more",) if more > 0 else ())))


def _before(session: Session, digest: str) -> Before:
    """Read in the journals what runs of the same saved plan did."""
    ran: set[str] = set()
    done: set[str] = set()
    for entries in _journals(session, digest):
        ran |= {str(fields["step"]) for kind, fields in entries if kind == "step-started"}
        done |= {
            str(fields["step"]) for kind, fields in entries if kind == "step-ended" and fields["outcome"] == "done"
        }
    return Before(frozenset(ran), frozenset(done))


def _journals(session: Session, digest: str) -> Iterable[list[tuple[str, Mapping[str, object]]]]:
    for path in list_journals(session.workspace):
        try:
            entries = read_journal(path)
        except Pk3sError:
            continue  # a journal that cannot be read says nothing: then more is asked of the plan, not less
        if any(entry.kind == "saved-plan" and entry.fields.get("digest") == digest for entry in entries):
            yield [(entry.kind, entry.fields) for entry in entries]
