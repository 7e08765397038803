"""What runs now, and how much of it is over: the state behind the live board, and its lines for a terminal's size."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from productive_k3s_infra.hosts.fleet.telling import READING

Piece = tuple[str, str]
"""Some text with its rich style."""

_LONG_SECONDS = 600
# A word that is newer than this says by itself since when it holds.
_FRESH_SECONDS = 10
# With less room than this for what a host does, the last it said counts more than what it is all about.
_ROOMY = 30
# On fewer lines what runs counts more than what follows.
_ROOM_FOR_MORE = 5
# Ends of groups name so many hosts.
_MOST_NAMES = 5


@dataclass
class Row:
    """One host at one thing. `word` is what it said last, `word_since` since when."""

    subject: str
    activity: str
    since: float
    word: str = ""
    word_since: float = 0.0


@dataclass
class Group:
    """All that is at the same thing. `expected` is how many the plan has, 0 where nobody knows."""

    activity: str
    since: float
    expected: int = 0
    begun: int = 0
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0

    @property
    def ended(self) -> int:
        """How many are over."""
        return len(self.done) + len(self.failed)

    @property
    def total(self) -> int:
        """Of how many, 0 where more may come: looks begin all together, steps only when it is their turn."""
        return self.begun if self.activity in READING else max(self.expected, self.begun) if self.expected else 0


class Board:
    """Keeps what begins, goes on and ends. A subject may be at several things; the newest one hears its words."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[tuple[str, str], Row] = {}
        self._groups: dict[str, Group] = {}
        self._expected: Counter[str] = Counter()
        self._then = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs."""
        return not self._rows

    def expect(self, activities: Counter[str], then: str = "") -> None:
        """Know how many of each are to come, and what follows once all of them are over."""
        self._expected, self._then = Counter(activities), then

    def started(self, subject: str, activity: str) -> None:
        """Begin a row, and a group if it is the first."""
        now = self._clock()
        self._rows[subject, activity] = Row(subject, activity, now, word_since=now)
        group = self._groups.setdefault(activity, Group(activity, now, self._expected[activity]))
        group.begun += 1

    def progressed(self, subject: str, word: str) -> Row | None:
        """Note what a subject says; return its row, None if nothing is known to run there: nothing would end it."""
        row = next((row for row in reversed(list(self._rows.values())) if row.subject == subject), None)
        if row is not None and word not in (row.word, row.activity):
            row.word, row.word_since = word, self._clock()
        return row

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool) -> Group | None:
        """End a row; return its group if that is over too."""
        self._rows.pop((subject, activity), None)
        group = self._groups.setdefault(activity, Group(activity, self._clock() - seconds, begun=1))
        (group.failed if failed else group.done).append(subject)
        group.longest = max(group.longest, seconds)
        return self._groups.pop(activity) if group.ended >= max(group.begun, group.expected) else None

    def dropped(self, subject: str, activity: str) -> None:
        """End a row of which nothing is known, as if it had never begun."""
        self._rows.pop((subject, activity), None)
        group = self._groups.get(activity)
        if group is not None:
            group.begun -= 1
            if not group.begun:
                del self._groups[activity]

    def left(self) -> list[Group]:
        """Return the groups that nothing runs of and that were expected to have more, and forget them."""
        idle = [name for name in self._groups if all(row.activity != name for row in self._rows.values())]
        return [self._groups.pop(name) for name in idle]

    def lines(self, width: int, height: int, *, unicode: bool = True) -> list[list[Piece]]:
        """Return what to draw: counts, who runs longest, how many more do, what follows. None is wider than `width`."""
        now = self._clock()
        heads = [head for group in list(self._groups.values()) if (head := _head(group))]
        drawn: list[list[Piece]] = [[(_fit(f"  {head}", width, unicode=unicode), "bold")] for head in heads]
        drawn = drawn[: max(0, height - 1)]
        rows = sorted(self._rows.values(), key=lambda row: row.since)
        ahead = [[(_fit(f"    then {self._then}", width, unicode=unicode), "dim")]] if self._is_ahead(height) else []
        room = max(0, height - len(drawn) - len(ahead))
        shown = rows if len(rows) <= room else rows[: max(0, room - 1)]
        names = min(max((cell_len(row.subject) for row in shown), default=0), max(8, width // 3))
        times = max((len(duration(now - row.since)) for row in shown), default=0)
        drawn += (_row(row, now, (names, times), width, unicode=unicode) for row in shown)
        if len(shown) < len(rows) and room:
            drawn.append([(_fit(f"    and {len(rows) - len(shown)} more", width, unicode=unicode), "dim")])
        return drawn + ahead

    def _is_ahead(self, height: int) -> bool:
        """Whether something follows the steps that run, and there is room to say so: not while hosts are looked at."""
        runs = any(row.activity not in READING for row in self._rows.values())
        return bool(self._then) and runs and height >= _ROOM_FOR_MORE


def _head(group: Group) -> str:
    """Return how far all of it is, '' where that is but one row."""
    if group.total == 1:
        return ""
    failed = f", {len(group.failed)} failed" if group.failed else ""
    if group.total:
        return f"{group.activity}: {group.ended} of {group.total}{failed}"
    return f"{group.activity}: {group.ended} done{failed}" if group.ended else ""


def _row(row: Row, now: float, columns: tuple[int, int], width: int, *, unicode: bool) -> list[Piece]:
    mark = "  … " if unicode else "  . "
    names, times = columns
    subject = set_cell_size(_fit(row.subject, names, unicode=unicode), names)
    total = f"  {duration(now - row.since):>{times}}"
    same = f" ({duration(now - row.word_since)})" if _waits(row, now) else ""
    room = max(0, width - cell_len(mark) - names - 1 - cell_len(total))
    if room < _ROOMY:
        said, same = row.word or row.activity, ""
    else:
        said = f"{row.activity}: {row.word}" if row.word else row.activity
    said = set_cell_size(_fit(said, room - len(same), unicode=unicode) + same, room)
    return _clipped([(mark, "cyan"), (f"{subject} ", "bold"), (said, ""), (total, "cyan")], width)


def _clipped(line: list[Piece], width: int) -> list[Piece]:
    """Cut a line where not even its columns have room."""
    found: list[Piece] = []
    for text, style in line:
        room = width - sum(cell_len(piece) for piece, _ in found)
        found.append((text if cell_len(text) <= room else set_cell_size(text, max(0, room)), style))
    return found


def _waits(row: Row, now: float) -> bool:
    return now - row.word_since >= _FRESH_SECONDS and row.word_since > row.since


def _fit(text: str, width: int, *, unicode: bool) -> str:
    """Return it as one line of what can be shown, cut to a width."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    if not unicode:
        line = line.encode("ascii", "replace").decode()
    if cell_len(line) <= width:
        return line
    end = "…" if unicode else ".."
    return set_cell_size(line, max(0, width - len(end))).rstrip() + end if width > len(end) else line[: max(0, width)]


def duration(seconds: float) -> str:
    """PURE: return a time in few letters: seconds, from ten minutes on minutes."""
    whole = int(seconds)
    return f"{whole} s" if whole < _LONG_SECONDS else f"{whole // 60} min"


def group_words(group: Group) -> str:
    """PURE: say how a group ended: who, or how many, and which ones did not end well."""
    if group.ended == 1:
        return f"{(group.done + group.failed)[0]:<16} {group.activity}"
    if not group.failed:
        who = ", ".join(group.done) if len(group.done) <= _MOST_NAMES else f"{len(group.done)} hosts"
        return f"{group.activity}: {who}"
    return f"{group.activity}: {len(group.done)} of {group.ended} hosts, not {some(group.failed)}"


def some(names: Sequence[str]) -> str:
    """PURE: name the first few, and say how many more there are."""
    return ", ".join(_some(names))


def _some(names: Sequence[str]) -> Iterator[str]:
    yield from names[:_MOST_NAMES]
    if len(names) > _MOST_NAMES:
        yield f"and {len(names) - _MOST_NAMES} more"
