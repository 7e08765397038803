"""Hooks of the documentation site: documents that lie beside what they are about are pages of it too.

A link is written once, such that it works in the repository. For the site it is rewritten: one to a page becomes one to
that page, one to a file that is no page becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from markdown import Extension, Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from productive_k3s_infra._shipped import PAGES

REPOSITORY = Path(__file__).resolve().parent.parent
# Documents outside docs/ that are pages, by the path that they have in the repository.
ELSEWHERE = (
    "use-cases/*/README.md",
    "use-cases/*/topology.svg",
    "ansible/README.md",
    "ansible/roles/*/README.md",
    "opentofu/README.md",
    "opentofu/modules/*/README.md",
    "lab/README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
)
# Where scripts/player puts what plays recordings; without it they are links.
PLAYER = REPOSITORY / "build/player"
# Pages with tables of codes: each code is an anchor.
CODES = {"failure-codes.md", "checks.md", "preflight.md"}
# What the repository's first page is on the site.
_INDEX = {"README.md": "index.md", "docs": "index.md"}
_EXPLAIN = re.compile(r"(?<!\[)`pk3s explain ([a-z0-9][\w.-]*)`")
_FENCE = re.compile(r"(^ *```.*?^ *```[^\S\n]*$)", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r" *(?:[-*]|[0-9]+\.) ")
_FIRST_CELL = re.compile(r"^\| (?=`)([^|]+?) \|", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_HEAD = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_ROW_TEXT = re.compile(r"^\|.*$", re.MULTILINE)
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")


class TwoSpaces(Extension):
    """What belongs to an item of a list is indented by two spaces, as on the pages of a repository."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the library's name
        md.tab_length = 2


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.markdown_extensions.append(TwoSpaces())
    if PLAYER.is_dir():
        config.extra_css.insert(0, "site/asciinema-player.css")
        config.extra_javascript.insert(0, "site/asciinema-player.min.js")
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for pattern in ELSEWHERE:
        for path in sorted(REPOSITORY.glob(pattern)):
            source = path.relative_to(REPOSITORY).as_posix()
            files.append(File.generated(config, source, abs_src_path=str(path)))
    for part in sorted(PLAYER.glob("asciinema-player.*")):
        files.append(File.generated(config, f"site/{part.name}", abs_src_path=str(part)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Rewrite the links outside code blocks."""
    here = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        text, target = match.groups()
        new = site_link(here, target, {file.src_uri for file in files})
        return text if new is None else f"[{text}]({new})"

    if here in CODES:
        markdown = _FIRST_CELL.sub(with_anchors, markdown)
    parts = _FENCE.split(markdown)
    text = (
        part if index % 2 else _LINK.sub(rewritten, bars_in_code(lists_apart(part))) for index, part in enumerate(parts)
    )
    linked = (
        part if index % 2 else _EXPLAIN.sub(lambda found: explained(here, found), part)
        for index, part in enumerate(text)
    )
    return "".join(linked)


def on_page_content(html: str, **_: Any) -> str:
    """Give each cell the name of its column, which narrow screens show before it in place of the table's head."""
    return _TABLE.sub(lambda table: labelled(table[0]), html)


def explained(here: str, command: re.Match[str]) -> str:
    """Link a command that prints a page to that page: a copied folder has the command only, the site has both."""
    page = PAGES.get(command[1])
    return (
        command[0]
        if page in {None, here}
        else f"[{command[0]}]({posixpath.relpath(page, posixpath.dirname(here) or '.')})"
    )


def with_anchors(cell: re.Match[str]) -> str:
    """Make each code of a row's first cell an anchor of its own name, `failure-codes.html#ssh.timeout`."""
    return _CODE.sub(r'<a id="\1" href="#\1"><code>\1</code></a>', cell[0])


def labelled(table: str) -> str:
    """Return the HTML of a table with `data-label` at its cells."""
    labels = [_TAG.sub("", head) for head in _HEAD.findall(table)]

    def cells(row: re.Match[str]) -> str:
        names = iter(labels)
        return re.sub(r"<td", lambda _: f'<td data-label="{next(names, "")}"', row[0])

    return _ROW.sub(cells, table)


def bars_in_code(text: str) -> str:
    r"""Take the backslash of `a\|b` away in the cells of tables: on the site a bar in code parts no cells by itself."""
    return _ROW_TEXT.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), text)


def lists_apart(text: str) -> str:
    """Put an empty line before an item that comes right after a paragraph: repositories show a list there as well."""
    lines: list[str] = []
    began = ""  # the first line of the block that the last line belongs to
    for line in text.splitlines(keepends=True):
        item = _ITEM.match(line) is not None
        if item and began and not _ITEM.match(began) and indent(line) <= indent(began):
            lines.append("\n")
            began = ""
        lines.append(line)
        began = (began or line) if line.strip() else ""
    return "".join(lines)


def indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def site_link(here: str, target: str, pages: set[str]) -> str | None:
    """Return a link of the repository as one of the site, None where it leads to a file that is no page.

    `here` is the page's name on the site. A link to what is not in the repository is left: the strict build names it.
    """
    path, mark, anchor = target.partition("#")
    if "://" in target or not path:
        return target
    place = posixpath.dirname(here if here in outside(pages) else f"docs/{here}")
    found = posixpath.normpath(posixpath.join(place, path))
    for page in (site_name(found), site_name(f"{found}/README.md")):
        if page in pages:
            return posixpath.relpath(page, posixpath.dirname(here) or ".") + mark + anchor
    return None if (REPOSITORY / found).exists() else target


def site_name(path: str) -> str:
    """Return the name on the site of a document of the repository."""
    return _INDEX.get(path, path.removeprefix("docs/"))


def outside(pages: set[str]) -> set[str]:
    """Return the pages that do not lie in docs/."""
    return {page for page in pages if not (REPOSITORY / "docs" / page).exists()}
