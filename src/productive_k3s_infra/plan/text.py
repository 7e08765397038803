"""PURE: a plan as lines of text, for people and for golden files."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from productive_k3s_infra.plan.folding import folded
from productive_k3s_infra.plan.groups import Group, groups_of
from productive_k3s_infra.plan.lines import Complaint, Line, cause_lines
from productive_k3s_infra.plan.marks import MARKS, counted, counts, mark_of, mark_of_change
from productive_k3s_infra.plan.model import Plan

# Needs of so many kinds are told in brief; more are turns, host by host.
_MOST_NEEDS = 2


def plan_lines(plan: Plan, *, full: bool = False) -> Iterator[str]:
    """Return the text of `plan_text`."""
    return (line.text for line in plan_text(plan, full=full))


def plan_text(plan: Plan, *, full: bool = False) -> Iterator[Line]:
    """Show the whole plan; what was refused or not reached, and why, stands last, where people look."""
    yield from body_text(plan, full=full)
    yield from end_text(plan)
    if plan.refusals:
        refusing = len({refusal.host for refusal in plan.refusals})
        who = "1 host refuses" if refusing == 1 else f"{refusing} hosts refuse"
        yield Line(f"Refused: {who} what was planned; nothing was changed.", "bad")


def body_text(plan: Plan, *, full: bool = False) -> Iterator[Line]:
    """Show the counts, each step with its reason and impact, and why nothing is done where nothing is; then the notes.

    Equal steps of many hosts stand there once. `full` adds the lines that differ in files, and who waits for whom.
    """
    if plan.steps:
        yield Line(counts(plan), "counts")
    shown: dict[tuple[str, ...], str] = {}
    for group in groups_of(plan):
        yield from group_text(group, shown, full=full)
    why = unchanged_of(plan)
    yield from (Line(f"  {folded(hosts)}: nothing to do, {reason}", "quiet") for reason, hosts in why.items())
    yield from (Line(line) for line in note_lines(plan))


def end_text(plan: Plan, *, told: Collection[str] = (), well: bool = True) -> Iterator[Line]:
    """Show the counts once more, then what was refused or not reached, by cause; hosts in `told` are told elsewhere.

    `well`: nothing else was found that applying would be refused for, so that "nothing to change" may be said.
    """
    if plan.steps or well:
        yield from (Line(line, "counts") for line in _summary(plan))
    yield from (Line(line) for line in limit_lines(plan))
    yield from unreached_text(plan, told=told)
    yield from refusal_text(plan, told=told)


def _summary(plan: Plan) -> Iterator[str]:
    if plan.steps:
        yield f"{counts(plan)}."
    elif plan.unreached:
        yield "The hosts that answered need no change."
    elif not plan.refusals:
        yield f"Nothing to change on {folded(plan.limit)}." if plan.limit else "Nothing to change."


def refusal_text(plan: Plan, *, told: Collection[str] = ()) -> Iterator[Line]:
    """Show the vetoes, by cause."""
    refusals = [(one.host, one.failure) for one in plan.refusals if one.host not in told]
    return cause_lines(
        "refused",
        (Complaint(host, why.what, why.code, why.evidence, why.remedy) for host, why in refusals),
    )


def unreached_text(plan: Plan, *, told: Collection[str] = ()) -> Iterator[Line]:
    """Show the hosts that nothing was planned for, as they were not reached, by cause."""
    unreached = [(one.host, one.failure) for one in plan.unreached if one.host not in told]
    return cause_lines(
        "not planned",
        (Complaint(host, why.what, why.code, why.evidence, why.remedy) for host, why in unreached),
    )


def limit_lines(plan: Plan) -> Iterator[str]:
    """Show, where the plan is of some nodes only, which ones and what was left out."""
    if plan.limit:
        names = folded(plan.limit)
        yield f"Only {names} (--limit): other nodes, machines and the full validation were left out."


def unchanged_of(plan: Plan) -> dict[str, list[str]]:
    """Return why nothing is done, each with the hosts that this is true of."""
    found: dict[str, list[str]] = {}
    for unchanged in plan.unchanged:
        found.setdefault(unchanged.reason, []).append(unchanged.host)
    return found


def note_lines(plan: Plan) -> Iterator[str]:
    """Show the notes; what is noted of several hosts stands there once, with their names."""
    about = (*plan.steps, *plan.unchanged, *plan.unreached)
    known = {one.host for one in about} | {step.subject for step in plan.steps}
    found: dict[str, list[str]] = {}
    for note in plan.notes:
        name, sign, rest = note.partition(": ")
        hosts = found.setdefault(rest if sign and name in known else note, [])
        hosts += [name] if sign and name in known else []
    for text, hosts in found.items():
        yield f"note: {folded(hosts)}: {text}" if hosts else f"note: {text}"


def group_text(group: Group, shown: dict[tuple[str, ...], str], *, full: bool) -> Iterator[Line]:
    """Show equal steps. `shown` are the differences that were shown before, with whose they were; it is added to."""
    mark = mark_of(group.first)
    yield Line(f"{MARKS[mark]} {group.title}: {group.reason}", mark)
    if len(group.steps) > 1:
        yield Line(f"      on {folded(group.subjects)}")
    yield from _needs_text(group, full=full)
    yield from (Line(f"    {MARKS[mark]} {resource}", mark) for resource in group.resources)
    if group.token:
        yield Line(f"      with {group.token}", "quiet")
    for index, change in enumerate(group.first.changes):
        kind = mark_of_change(group.first, change)
        words = group.words_of(change)
        yield Line(f"    {MARKS[kind]} {words}", kind) if kind else Line(f"      {words}", "quiet")
        if full:
            yield from _diff_text(group, index, shown)


def _needs_text(group: Group, *, full: bool) -> Iterator[Line]:
    needs = group.needs()
    if len(needs) == 1 and len(next(iter(needs.values()))) == len(group.steps):
        yield Line(f"      after {', '.join(next(iter(needs)))}", "quiet")
    elif needs and not full and len(needs) > _MOST_NEEDS:
        yield Line("      each after steps of its own (--full)", "quiet")
    else:
        yield from (Line(f"      {folded(who)} after {', '.join(what)}", "quiet") for what, who in needs.items())


def _diff_text(group: Group, index: int, shown: dict[tuple[str, ...], str]) -> Iterator[Line]:
    diffs = group.diffs(index)
    for diff, who in diffs.items():
        if not diff:
            continue
        if len(diffs) > 1:
            yield Line(f"        on {folded(who)}:", "quiet")
        if diff in shown:
            yield Line(f"        as on {shown[diff]}", "quiet")
            continue
        shown[diff] = who[0]
        for line in diff:
            yield Line(f"        {line}", "added" if line.startswith("+") else "taken" if line.startswith("-") else "")


def refused_summary(errors: int, plan: Plan) -> str:
    """Return what applying a plan would come to where errors were found; it names who was not reached."""
    names = folded(item.host for item in plan.unreached)
    return (
        f"Apply would be refused: {counted(errors, 'error')} (see above){f'; not reached: {names}' if names else ''}."
    )
