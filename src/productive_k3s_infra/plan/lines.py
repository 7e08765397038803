"""PURE: lines of a plan, each with what it is about, so that colour can be laid over the same text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from productive_k3s_infra.plan.folding import folded
from productive_k3s_infra.plan.marks import Mark

Kind = Mark | Literal["", "counts", "added", "taken", "quiet", "bad"]

# So many pieces of evidence that differ from host to host say what kind it is.
_MOST_EVIDENCE = 3


@dataclass(frozen=True)
class Line:
    """One line of text; `kind` says what it is about."""

    text: str
    kind: Kind = ""


class Complaint(NamedTuple):
    """Why something is not well at a host or subject: the head says what, the rest evidence and remedy.

    `code` is what `pk3s explain` knows it by: a failure code, or the id of a check.
    """

    subject: str
    what: str
    code: str
    evidence: str = ""
    remedy: str = ""


def cause_lines(label: str, causes: Iterable[Complaint], *, explained: Collection[str] = ()) -> Iterator[Line]:
    """Show what went wrong once for all subjects of the same cause; evidence that differs is told by subject.

    The first cause of a code names the command that explains it, unless the code is in `explained`.
    """
    groups: dict[tuple[str, str, str], list[Complaint]] = {}
    for cause in causes:
        groups.setdefault((cause.what, cause.code, cause.remedy), []).append(cause)
    told = set(explained)
    for (what, code, remedy), members in groups.items():
        yield Line(f"{label}: {folded(dict.fromkeys(one.subject for one in members))}: {what} [{code}]", "bad")
        yield from (Line(f"  seen: {seen}") for seen in _evidence(members))
        if remedy:
            yield Line(f"  next: {remedy}")
        if code not in told:
            yield Line(f"  more: pk3s explain {code}")
            told.add(code)


def _evidence(members: list[Complaint]) -> Iterator[str]:
    seen = {one.evidence: one for one in members if one.evidence}
    if len({one.evidence for one in members}) == 1:
        yield from seen
        return
    yield from (f"{one.subject}: {one.evidence}" for one in list(seen.values())[:_MOST_EVIDENCE])
    if len(seen) > _MOST_EVIDENCE:
        yield f"and {len(seen) - _MOST_EVIDENCE} more of the kind"
