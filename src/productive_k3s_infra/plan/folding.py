"""PURE: many names in few words, and none of them lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Fewer stand as they are: a fold is read more slowly than a name.
_FEWEST = 4
_NUMBERED = re.compile(r"(.*?)(\d+)")


def folded(names: Iterable[str]) -> str:
    """Return names with commas between them, neighbours with consecutive numbers as `agent-{1..11}`.

    A shell unfolds that (brace expansion, bash(1)), with leading zeros too. The order stays.
    """
    return ", ".join(_words(names))


def _words(names: Iterable[str]) -> Iterator[str]:
    run: list[str] = []
    for name in names:
        if run and not _follows(run[-1], name):
            yield from _told(run)
            run = []
        run.append(name)
    yield from _told(run)


def _told(run: list[str]) -> Iterator[str]:
    if len(run) < _FEWEST:
        yield from run
        return
    (head, first), (_, last) = _parts(run[0]), _parts(run[-1])
    yield f"{head}{{{first}..{last}}}"


def _follows(before: str, name: str) -> bool:
    (head, number), (other, following) = _parts(before), _parts(name)
    if not number or not following or head != other:
        return False
    padded = number.startswith("0") or following.startswith("0")
    return int(following) == int(number) + 1 and (len(number) == len(following) or not padded)


def _parts(name: str) -> tuple[str, str]:
    found = _NUMBERED.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")
