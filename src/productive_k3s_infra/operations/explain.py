"""`pk3s explain`: what the pages that come with pk3s say of a failure code or a check; nothing is asked of anybody."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from productive_k3s_infra._shipped import PAGES, page
from productive_k3s_infra.errors import BadInput

# Where codes and checks stand in tables, the first cell naming them.
TABLES = ("failure-codes", "checks", "preflight")
# The name that lists the pages.
LIST = "pages"
_FENCE = re.compile(r"(^ *```.*?^ *```[^\S\n]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_NAMES = {file: name for name, file in PAGES.items()}


@dataclass(frozen=True)
class Entry:
    """One row of a page: where it stands, and its cells with what the table calls them."""

    page: str
    section: str
    names: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Explained:
    """What is known of a name: rows of tables, or a page's whole text."""

    name: str
    entries: tuple[Entry, ...] = ()
    text: str = ""


def explain(name: str) -> Explained:
    """Return what the pages say. Raises BadInput with the nearest names where they say nothing."""
    if name == LIST:
        return Explained(name, text="".join(f"{one:<14} {_title(page(one))}\n" for one in PAGES))
    if name in PAGES:
        return Explained(name, text=readable(name, page(name)))
    known = [entry for table in TABLES for entry in entries(table, page(table))]
    found = tuple(entry for entry in known if name in entry.names)
    if found:
        return Explained(name, found)
    names = sorted({one for entry in known for one in entry.names} | set(PAGES))
    near = difflib.get_close_matches(name, names, 3, 0.5)
    raise BadInput(
        "no failure code, check or page is called so",
        where=name,
        evidence=f"nearest: {', '.join(near)}" if near else "",
        remedy=f"pk3s explain {near[0]}" if near else "pk3s explain failure-codes shows all codes",
        code="explain.unknown",
    )


def entries(name: str, text: str) -> Iterator[Entry]:
    """PURE: yield the rows of a page's tables whose first cell names codes or checks."""
    part = section = ""
    head: list[str] = []
    for line in text.splitlines():
        if line.startswith("### "):
            section, head = f"{part}: {line.lstrip('# ')}", []
        elif line.startswith("#"):
            part = section = line.lstrip("# ")
            head = []
        elif not line.startswith("|"):
            head = []
        elif not head:
            head = _cells(line)
        elif _CODE.match(_cells(line)[0]):
            cells = _cells(line)
            said = tuple(
                (title, readable(name, cell)) for title, cell in zip(head[1:], cells[1:], strict=False) if cell
            )
            yield Entry(name, section, tuple(_CODE.findall(cells[0])), said)


def readable(name: str, text: str) -> str:
    """PURE: return the text of the page `name` for where no link can be followed and no picture be seen.

    A link to a page or a code that pk3s can explain becomes the command for it, any other leaves its words.
    """

    def plain(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        if picture:
            return f"(Picture: {words})"
        if "://" in target:
            return f"{words} ({target})"
        path = target.partition("#")[0]
        place = posixpath.dirname(PAGES.get(name, ""))
        other = _NAMES.get(posixpath.normpath(posixpath.join(place, path))) if path else None
        if other is None or other == name:
            return words
        code = _CODE.fullmatch(words) if other in TABLES else None
        return f"{words} (pk3s explain {code[1] if code else other})"

    return "".join(part if index % 2 else _LINK.sub(plain, part) for index, part in enumerate(_FENCE.split(text)))


def _title(text: str) -> str:
    return text.partition("\n")[0].lstrip("# ")


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
