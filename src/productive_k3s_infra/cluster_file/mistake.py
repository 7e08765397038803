"""PURE: one mistake in a cluster file, and where it stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

# Keys and list indices from the top of the document to a value.
Path: TypeAlias = tuple[str | int, ...]

_LONGEST_QUOTE = 60


@dataclass(frozen=True)
class Mistake:
    """What is wrong at a place of the file, what was expected there and how to mend it. Line and column count from 1.

    `code` is stable (`file.unknown-key`) and keys the docs.
    """

    file: str
    line: int
    column: int
    what: str
    expected: str = ""
    remedy: str = ""
    code: str = "file.invalid"

    def __str__(self) -> str:
        expected = f"expected {self.expected}" if self.expected else ""
        tail = "; ".join(part for part in (self.what, expected, self.remedy) if part)
        line = f"{self.file}:{self.line}:{self.column}: {tail}"
        # Words of the file may hold line breaks or a terminal's control sequences: one mistake is one line.
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


@dataclass(frozen=True)
class Objection:
    """What a check holds against a value, before anybody knows where the value stands."""

    code: str
    what: str
    expected: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Found:
    """An objection and the path of its value; `at_key` means the key itself, not what stands behind it."""

    path: Path
    objection: Objection
    at_key: bool = False


def found(path: Path, code: str, what: str, *, expected: str = "", remedy: str = "", at_key: bool = False) -> Found:
    """Return an objection to what stands at `path`."""
    return Found(path, Objection(code, what, expected, remedy), at_key)


def quoted(value: object) -> str:
    """Return a value of the file as a message shows it: in quotes, on one line, not too long."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[: _LONGEST_QUOTE - 3]}...")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remedy that offers the known name that looks most like `name`, or ''."""
    by_letters = {"".join(filter(str.isalnum, item)).lower(): item for item in known}
    letters = "".join(filter(str.isalnum, name)).lower()
    close = difflib.get_close_matches(letters, by_letters, n=1, cutoff=0.6)
    return f"did you mean {by_letters[close[0]]!r}?" if close else ""
