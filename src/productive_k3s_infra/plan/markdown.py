"""PURE: a plan as Markdown, for the description of a merge request."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from productive_k3s_infra.plan.folding import folded
from productive_k3s_infra.plan.groups import groups_of
from productive_k3s_infra.plan.lines import Line
from productive_k3s_infra.plan.marks import MARKS, counts, mark_of
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.text import group_text, note_lines, unchanged_of

_LEAST_FENCE = 3


def markdown_lines(plan: Plan, last: Iterable[Line]) -> Iterator[str]:
    """Show the counts, then each step, or equal ones of many hosts, behind a line to unfold; refusals stand last.

    `last` are the lines that stand last: the counts, and what was refused or not reached.
    """
    if plan.steps:
        yield f"**{counts(plan)}**"
    else:
        yield f"**{plan.cluster}: no steps**"
    yield ""
    shown: dict[tuple[str, ...], str] = {}
    for group in groups_of(plan):
        who = f" on {folded(group.subjects)}" if len(group.steps) > 1 else ""
        head = f"<code>{MARKS[mark_of(group.first)]}</code> {html.escape(f'{group.title}{who}: {group.reason}')}"
        text = [line.text for line in group_text(group, shown, full=True)][1:]
        if not text:
            yield from (head, "")
            continue
        yield from ("<details>", f"<summary>{head}</summary>", "", *_fenced(text, "diff"), "", "</details>", "")
    for reason, hosts in unchanged_of(plan).items():
        yield f"- {', '.join(f'`{host}`' for host in hosts)}: nothing to do, {_plain(reason)}"
    yield from (f"- {_plain(note)}" for note in note_lines(plan))
    yield from ("", *_fenced([line.text for line in last], "text"))


def _fenced(lines: list[str], language: str) -> Iterator[str]:
    """Put lines into a block that none of them can end. In a `diff` block signs stand first, so blanks are taken."""
    longest = max((len(found) for line in lines for found in re.findall(r"`+", line)), default=0)
    fence = "`" * max(_LEAST_FENCE, longest + 1)
    yield f"{fence}{language}"
    yield from (re.sub(r"^ {8}(?=[-+@ ])", "", line) for line in lines)
    yield fence


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_<>#\[\]|])", r"\\\1", text)
