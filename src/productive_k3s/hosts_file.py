"""PURE: the names of the cluster's nodes in /etc/hosts, as a marked block. Lines outside the marks stay."""

from __future__ import annotations

import difflib
from typing import List, Optional, Sequence, Tuple

from productive_k3s.change import Change
from productive_k3s.facts.model import Facts, HostsFile
from productive_k3s.request import HostEntry, Request

_BEGIN = "# BEGIN productive-k3s"
_END = "# END productive-k3s"
_BEGIN_LINE = f"{_BEGIN}: names of the cluster's nodes. Changes made here are replaced by its next run."


def changes(request: Request, facts: Facts) -> Tuple[Change, ...]:
    """Return what brings the names of the request into the files that decide about names, or takes them away.

    K3s asks for names anew whenever it needs them, so none of this restarts anything.
    """
    wanted = lines(request.hosts_file)
    found = (_change(file, wanted) for file in facts.host.hosts_files)
    return tuple(change for change in found if change is not None)


def removals(facts: Facts) -> Tuple[Change, ...]:
    """Return what takes the names away again."""
    found = (_change(file, ()) for file in facts.host.hosts_files)
    return tuple(change for change in found if change is not None)


def _change(file: HostsFile, wanted: Tuple[str, ...]) -> Optional[Change]:
    if meaning(file.block or ()) == meaning(wanted) and (file.block is not None) == bool(wanted):
        return None
    if wanted:
        reason = "the names of the cluster's nodes are not there" if not file.block else "names of the nodes differ"
        return Change(f"hosts:{file.path}", "write-hosts", file.path, reason, "change", _diff(file, wanted))
    reason = "names of the nodes are not asked for any more"
    return Change(f"hosts:{file.path}", "remove-hosts", file.path, reason, "change", _diff(file, ()))


def _diff(file: HostsFile, wanted: Sequence[str]) -> Tuple[str, ...]:
    names = {"fromfile": file.path, "tofile": file.path}
    return tuple(difflib.unified_diff(list(file.block or ()), list(wanted), lineterm="", n=2, **names))


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
