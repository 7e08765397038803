"""PURE: the names of the cluster's nodes in /etc/hosts, as a marked block. Lines outside the marks stay."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from productive_k3s.contract.request import HostEntry

_BEGIN = "# BEGIN productive-k3s"
_END = "# END productive-k3s"
_BEGIN_LINE = f"{_BEGIN}: names of the cluster's nodes. Changes made here are replaced by its next run."


def lines(entries: Sequence[HostEntry]) -> Tuple[str, ...]:
    """Return the entries as lines (hosts(5))."""
    return tuple(f"{entry.address} {' '.join(entry.names)}" for entry in entries)


def meaning(block: Sequence[str]) -> Tuple[Tuple[str, ...], ...]:
    """Return the words of the lines that say something: comments and white space make no difference."""
    words = (line.partition("#")[0].split() for line in block)
    return tuple(tuple(item) for item in words if item)


def block_of(text: str) -> Optional[Tuple[str, ...]]:
    """Return the lines between the marks, None without them. Further blocks follow the first."""
    found: Optional[List[str]] = None
    for inside, line in _marked(text):
        if inside:
            found = found or []
            if not line.startswith((_BEGIN, _END)):
                found.append(line.rstrip("\r\n"))
    return tuple(found) if found is not None else None


def with_block(text: str, wanted: Sequence[str]) -> str:
    """Return the text with these lines between the marks: in the place of the first block, else at the end.

    Without lines the block goes, and the text is what it was before there was one.
    """
    block = [f"{line}\n" for line in (_BEGIN_LINE, *wanted, _END)] if wanted else []
    kept: List[str] = []
    place: Optional[int] = None
    for inside, line in _marked(text):
        if not inside:
            kept.append(line)
        elif place is None:
            place = len(kept)
    if place is None:
        place = len(kept)
        if block and kept and not kept[-1].endswith("\n"):
            kept[-1] += "\n"
    return "".join((*kept[:place], *block, *kept[place:]))


def _marked(text: str) -> List[Tuple[bool, str]]:
    """Return each line, with its end, and whether it belongs to a block.

    A first mark whose last one somebody deleted marks itself only: what follows it may be anybody's.
    """
    all_lines = text.splitlines(keepends=True)
    marked: List[Tuple[bool, str]] = []
    at = 0
    while at < len(all_lines):
        end = _end_of(all_lines, at)
        marked.extend((end is not None, line) for line in all_lines[at : (at if end is None else end) + 1])
        at = (at if end is None else end) + 1
    return marked


def _end_of(all_lines: Sequence[str], at: int) -> Optional[int]:
    if all_lines[at].startswith(_END):
        return at
    if not all_lines[at].startswith(_BEGIN):
        return None
    for index in range(at + 1, len(all_lines)):
        if all_lines[index].startswith(_END):
            return index
        if all_lines[index].startswith(_BEGIN):
            break
    return at
