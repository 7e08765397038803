"""The documentation as a site: it builds strictly, asks nothing of other hosts, and shows what was meant."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[3]
# What a browser fetches by itself: which attribute of which element.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
LINKS_FETCHED = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
IN_CSS = re.compile(r"@import\s*['\"]?([^'\");]+)|url\(['\"]?([^'\")]+)")


@dataclass
class Html(HTMLParser):
    """What one page holds: links, anchors, what it fetches, and the text of its paragraphs."""

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", ""))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "link" and set(found.get("rel", "").split()) & LINKS_FETCHED:
            self.fetched.append(found.get("href", ""))
        if FETCHED.get(tag) in found:
            self.fetched.append(found[FETCHED[tag]])
        if tag == "p":
            self.paragraphs.append("")
        if tag in {"p", "code", "style"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["p"]:
            self.paragraphs[-1] += data
        if self._open[-1:] == ["style"]:
            self.fetched += css_fetches(data)


def css_fetches(text: str) -> list[str]:
    return [first or second for first, second in IN_CSS.findall(text)]


def read(page: Path) -> Html:
    html = Html()
    html.feed(page.read_text(encoding="utf-8"))
    return html


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    return {page: read(page) for page in sorted(site.rglob("*.html"))}


def test_what_is_written_beside_the_code_is_on_the_site(site: Path) -> None:
    for page in ("index", "which-path", "contract", "use-cases/local/index", "lab/index", "SECURITY", "reference/pk3s"):
        assert (site / f"{page}.html").exists(), page


def test_each_page_is_named_once() -> None:
    named = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert len(named) > 20
    assert [page for page in named if named.count(page) > 1] == []


def test_decisions_are_listed() -> None:
    table = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\d+)\]\((.+)\) \|", table, re.MULTILINE)
    files = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert listed == [(str(int(name[:4])), name) for name in files]


def test_nothing_is_asked_of_another_host(site: Path, pages: dict[Path, Html]) -> None:
    elsewhere = {
        (page.relative_to(site).as_posix(), target)
        for page, html in pages.items()
        for target in html.fetched
        if is_elsewhere(target)
    }
    sheets = [(sheet.name, target) for sheet in site.rglob("*.css") for target in css_fetches(sheet.read_text("utf-8"))]
    assert elsewhere == set()
    assert [found for found in sheets if is_elsewhere(found[1])] == []
    assert sum(len(html.fetched) for html in pages.values()) > len(pages)


def is_elsewhere(target: str) -> bool:
    return target.startswith("//") or "://" in target


def test_links_lead_to_pages_and_anchors(site: Path, pages: dict[Path, Html]) -> None:
    broken = [
        (page.relative_to(site).as_posix(), link)
        for page, html in pages.items()
        if page.name != "404.html"  # its links begin at the site's address
        for link in html.links
        if not is_elsewhere(link) and not leads_somewhere(page, link, pages)
    ]
    assert broken == []


def leads_somewhere(page: Path, link: str, pages: dict[Path, Html]) -> bool:
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return False
    return not anchor or target not in pages or anchor in pages[target].anchors


def test_lists_and_blocks_are_not_text(site: Path, pages: dict[Path, Html]) -> None:
    wrong = [
        (page.relative_to(site).as_posix(), text)
        for page, html in pages.items()
        for text in html.paragraphs
        if re.search(r"```|^ *(?:[-*]|\d+\.) |^\|.*\|$|\]\(", text, re.MULTILINE)
    ]
    assert wrong == []


def test_a_bar_in_code_is_a_bar(site: Path, pages: dict[Path, Html]) -> None:
    """In a repository's table it is written with a backslash, which nobody would type."""
    cells = {page: re.findall(r"<td.*?</td>", page.read_text("utf-8"), re.DOTALL) for page in pages}
    wrong = [
        (page.relative_to(site).as_posix(), cell) for page, found in cells.items() for cell in found if "\\|" in cell
    ]
    assert wrong == []
    assert any("text|json|yaml" in cell for cell in cells[site / "reference/pk3s.html"])


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("nowhere", "[x](nowhere.md)", "nowhere.md"),
        ("anchor", "[x](other.md#nowhere)", "nowhere"),
        ("left-out", "", "stranger.md"),
    ],
)
def test_the_build_sees_what_is_wrong(tmp_path: Path, name: str, text: str, seen: str) -> None:
    documents = tmp_path / "docs"
    documents.mkdir()
    (documents / "index.md").write_text(f"# Index\n\n{text}\n")
    (documents / "other.md").write_text("# Other\n")
    if name == "left-out":
        (documents / "stranger.md").write_text("# Stranger\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT}/mkdocs.yml\ndocs_dir: {documents}\nhooks: []\nnav: [index.md, other.md]\n")
    built = build(config, tmp_path / "site")
    assert built.returncode == 1
    assert seen in built.stderr


def test_what_a_page_fetches_and_says_is_seen() -> None:
    html = Html()
    html.feed(
        '<link rel="stylesheet" href="//fonts.example/x.css"><script src="https://cdn.example/y.js"></script>'
        "<style>@import 'https://z.example/z.css'; a { background: url(https://i.example/i.png) }</style>"
        '<a href="https://k3s.io">K3s</a><p>What:\n- a list <code>- no list</code></p>'
    )
    assert [target for target in html.fetched if is_elsewhere(target)] == [
        "//fonts.example/x.css",
        "https://cdn.example/y.js",
        "https://z.example/z.css",
        "https://i.example/i.png",
    ]
    assert html.paragraphs == ["What:\n- a list "]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts/docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("here", "target", "link"),
    [
        ("contract.md", "../lab/README.md", "lab/README.md"),
        ("contract.md", "preflight.md#preflight", "preflight.md#preflight"),
        ("decisions/0001.md", "../../README.md", "../index.md"),
        ("lab/README.md", "../docs/contract.md", "../contract.md"),
        ("contract.md", "#the-wire", "#the-wire"),
        ("contract.md", "https://k3s.io", "https://k3s.io"),
        ("contract.md", "../LICENSE", None),
        ("contract.md", "../nowhere.md", "../nowhere.md"),
        ("contract.md", "decisions/", "decisions/README.md"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    hooks: ModuleType, here: str, target: str, link: str | None
) -> None:
    pages = {"index.md", "contract.md", "preflight.md", "decisions/README.md", "lab/README.md"}
    assert hooks.site_link(here, target, pages) == link


def test_a_command_that_prints_a_page_is_a_link_to_it_on_the_site(site: Path) -> None:
    page = site / "use-cases/onprem-basic/index.html"
    assert '<a href="../../how-to/onprem.html"><code>pk3s explain onprem</code></a>' in page.read_text("utf-8")
    assert "<code>pk3s explain pages</code>" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("- a\n- b\n", "- a\n- b\n"),
        ("Text:\n- a\n", "Text:\n\n- a\n"),
        ("- a\n\n  more of a\n- b\n", "- a\n\n  more of a\n\n- b\n"),
        ("- a\n  more of a\n- b\n", "- a\n  more of a\n- b\n"),
        ("Text\n  - no item\n", "Text\n  - no item\n"),
    ],
)
def test_lists_after_paragraphs_are_lists(hooks: ModuleType, text: str, shown: str) -> None:
    assert hooks.lists_apart(text) == shown
