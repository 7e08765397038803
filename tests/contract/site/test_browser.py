"""The documentation in a real browser: nothing cut off, the search finds, what is copied can be pasted.

`PK3S_SCREENSHOTS=FOLDER` keeps pictures of six pages, narrow and wide, light and dark.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import TimeoutError as TooLong

ROOT = Path(__file__).parents[3]
WIDTHS = (390, 768, 1280)
HEIGHT = 900
# Words that a user types, and a page that has to be among what is found.
SEARCHES = {
    "taint": "how-to/labels.html",
    "label": "how-to/labels.html",
    "proxy": "how-to/proxy.html",
    "offline": "how-to/offline.html",
    "airgap": "how-to/offline.html",
    "certificate": "how-to/certificates.html",
    "token": "contract.html",
    "drain": "how-to/nodes.html",
    "remove a node": "how-to/nodes.html",
    "jump host": "how-to/ssh.html",
    "known_hosts": "how-to/adopt.html",
    "sudo": "how-to/onprem.html",
    "kubeconfig": "how-to/teams.html",
    "journal": "how-to/runs.html",
    "cron": "how-to/ci.html",
    "exit code": "reference/exit-codes.html",
    "inventory": "how-to/ansible.html",
    "multipass": "use-cases/multipass/index.html",
    "terraform": "how-to/aws.html",
    "saved plan": "how-to/plan.html",
    "ssh.timeout": "failure-codes.html",
}
SCREENS = ("index", "which-path", "failure-codes", "use-cases/local/index", "explanation/design", "preflight")
# What is wider than the window, and what is cut off inside its own box: a list of words for a person.
CUT_OFF = """() => {
  const found = [], page = document.scrollingElement;
  if (page.scrollWidth > innerWidth) found.push(`the page is ${page.scrollWidth} px wide`);
  for (const one of document.querySelectorAll(".md-content *")) {
    if (one.closest("svg, .ap-wrapper, .md-clipboard, .md-code__nav")) continue;
    const cuts = getComputedStyle(one).overflowX !== "visible";
    if (cuts && one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1)
      found.push(`${one.tagName} ${one.scrollWidth} > ${one.clientWidth}: ${one.textContent.trim().slice(0, 60)}`);
  }
  return found;
}"""

# Blocks of code in which a letter is under the button that copies. The space at which a line wraps is outside the text.
HIDDEN = """() => [...document.querySelectorAll(".md-content pre")].flatMap(block => {
  const button = block.querySelector(".md-code__nav, .md-clipboard"), text = document.createRange();
  if (!button) return [];
  const code = block.querySelector("code"), over = button.getBoundingClientRect();
  const edge = code.getBoundingClientRect().right - parseFloat(getComputedStyle(code).paddingRight);
  text.selectNodeContents(code);
  const hidden = [...text.getClientRects()].some(
    one => one.width && Math.min(one.right, edge) > over.left && one.top < over.bottom && one.bottom > over.top);
  return hidden ? [`the button is over: ${block.textContent.trim().slice(0, 60)}`] : [];
})"""
SEARCH_IS_READY = "() => !/Initializing/.test(document.querySelector('.md-search-result__meta').textContent)"
BUTTONS = "() => document.querySelectorAll('.md-content pre :is(.md-code__nav, .md-clipboard)').length"

FITS = "() => document.scrollingElement.scrollWidth <= innerWidth"
SETTLED_MS = 3000

pytestmark = pytest.mark.contract


@dataclass
class Site:
    """The site as a server on loopback gives it; `elsewhere` are requests to anybody else."""

    folder: Path
    base: str
    context: BrowserContext
    page: Page
    elsewhere: set[str] = field(default_factory=set)

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.html"))

    def open(self, name: str) -> None:
        self.page.goto(f"{self.base}{name}")

    def resize(self, width: int) -> None:
        """Give the window a width, and what slides to its new place the time to; what stays too wide is told."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        with suppress(TooLong):
            self.page.wait_for_function(FITS, timeout=SETTLED_MS)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(ROOT / "mkdocs.yml"), "-d", made],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        timeout=120,
    )
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "Debian's chromium is missing: make setup"
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(scope="module")
def base(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def site(folder: Path, base: str, browser: Browser) -> Iterator[Site]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    made = Site(folder, base, context, context.new_page())
    context.on(
        "request", lambda one: made.elsewhere.add(one.url) if not one.url.startswith((base, "data:", "blob:")) else None
    )
    yield made
    context.close()


def test_nothing_is_cut_off_or_hidden_and_nobody_else_is_asked(site: Site) -> None:
    found, buttons = [], 0
    for name in site.names():
        site.open(name)
        for width in WIDTHS:
            site.resize(width)
            wrong = (*site.page.evaluate(CUT_OFF), *site.page.evaluate(HIDDEN))
            found += [f"{name} at {width} px: {one}" for one in wrong]
            buttons += site.page.evaluate(BUTTONS)
    assert found == []
    assert site.elsewhere == set()
    assert buttons > len(WIDTHS) * len(site.names())


@pytest.mark.parametrize("wide", ["<pre style='white-space:pre;overflow:auto'>{}</pre>", "<b>{}</b>"])
def test_what_is_cut_off_is_seen(site: Site, wide: str) -> None:
    """The check itself: a line that does not fit is told."""
    site.open("index.html")
    site.resize(WIDTHS[0])
    long = wide.format("x" * 400).replace("<b>", "<b style='display:block;overflow-wrap:normal'>")
    site.page.evaluate(
        "html => document.querySelector('.md-content__inner').insertAdjacentHTML('beforeend', html)", long
    )
    assert site.page.evaluate(CUT_OFF) != []


def test_the_search_finds_what_people_type(site: Site) -> None:
    site.resize(WIDTHS[-1])
    missed = []
    for words, page in SEARCHES.items():
        site.open("index.html")
        # What is typed before the page has read its index may be lost on a busy computer.
        site.page.wait_for_function(SEARCH_IS_READY, timeout=60_000)
        field = site.page.locator(".md-search__input")
        field.fill(words)
        field.press("End")  # the page listens to keys
        first = site.page.locator(".md-search-result__item").first
        first.wait_for(state="attached", timeout=60_000)
        links = site.page.locator(".md-search-result__link").evaluate_all("all => all.map(one => one.href)")
        if not any(page in link for link in links):
            missed.append((words, page, [link.removeprefix(site.base) for link in links]))
    assert missed == []


def test_what_is_copied_can_be_pasted(site: Site) -> None:
    site.resize(WIDTHS[-1])
    copied = 0
    for name in ("index.html", "how-to/install.html", "how-to/nodes.html", "how-to/ci.html"):
        site.open(name)
        blocks = site.page.locator(".language-console.highlight")
        for number in range(blocks.count()):
            blocks.nth(number).locator("[data-md-type=copy], .md-clipboard").first.click(force=True)
            text = site.page.evaluate("navigator.clipboard.readText()")
            assert text.strip(), (name, number)
            assert not any(line.startswith(("$ ", "# ")) for line in text.splitlines()), (name, text)
            copied += 1
    assert copied > 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_scheme_is_the_persons(site: Site, browser: Browser, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    page.goto(f"{site.base}index.html")
    assert page.locator("body").get_attribute("data-md-color-scheme") == {"light": "default", "dark": "slate"}[scheme]
    if os.environ.get("PK3S_SCREENSHOTS"):
        for name in SCREENS:
            for width in (WIDTHS[0], WIDTHS[-1]):
                page.set_viewport_size({"width": width, "height": 1100})
                page.goto(f"{site.base}{name}.html")
                file = f"{name.replace('/', '-')}-{width}-{scheme}.png"
                page.screenshot(path=Path(os.environ["PK3S_SCREENSHOTS"]) / file)
    context.close()
