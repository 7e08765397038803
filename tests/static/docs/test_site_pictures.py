"""The pictures of the documentation are drawn from their sources, for both schemes, and shown with words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "docs/pictures").glob("*.d2"))
# Of a screen that is 390 pixels wide; `max-height` of pictures in docs/site/site.css; what can just be read.
PHONE_COLUMN, MOST_HEIGHT, SMALLEST_LETTERS = 350, 800, 10
SHOWN = re.compile(r"!\[([^\]]*)\]\(((?:\S*/)?[\w-]+\.svg)\)")


def picture_of(source: Path) -> Path:
    """Return the picture of a source: that of a use case is in the folder that people copy."""
    copied = ROOT / "use-cases" / source.stem / "topology.svg"
    return copied if copied.exists() else source.with_suffix(".svg")


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts/pictures"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_pictures_are_drawn_from_their_sources() -> None:
    assert len(SOURCES) == 9
    checked = check(ROOT)
    assert checked.returncode == 0, checked.stdout


def test_a_changed_source_is_seen(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/pictures", tmp_path / "scripts")
    shutil.copytree(ROOT / "docs/pictures", tmp_path / "docs/pictures")
    shutil.copytree(ROOT / "use-cases", tmp_path / "use-cases", ignore=shutil.ignore_patterns(".pk3s"))
    with (tmp_path / "docs/pictures/flow.d2").open("a") as source:
        source.write("more\n")
    (tmp_path / "docs/pictures/ports.svg").unlink()
    (tmp_path / "use-cases/multipass/topology.svg").unlink()
    checked = check(tmp_path)
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == [
        "docs/pictures/flow.d2: make pictures",
        "docs/pictures/multipass.d2: make pictures",
        "docs/pictures/ports.d2: make pictures",
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_picture_is_for_light_and_dark_and_fetches_nothing(source: Path) -> None:
    text = picture_of(source).read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in text.replace(" ", "")
    assert re.findall(r"(?:href|src)=\"(?!#|data:)[^\"]*|url\((?![\"']?(?:#|data:))[^)]*", text) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_picture_can_be_read_on_a_phone(source: Path) -> None:
    """It is made as small as it has to be for the column of a phone and for the height that site.css leaves it."""
    text = picture_of(source).read_text(encoding="utf-8")
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', text)
    assert box
    width, height = map(int, box.groups())
    scale = min(1.0, PHONE_COLUMN / width, MOST_HEIGHT / height)
    letters = min(float(size) for size in re.findall(r"font-size:([\d.]+)px", text))
    assert letters * scale >= SMALLEST_LETTERS


def test_each_picture_is_shown_with_words() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "use-cases").glob("*/README.md")]
    pages.append(ROOT / "lab/README.md")
    shown = [(page, *found) for page in pages for found in SHOWN.findall(page.read_text(encoding="utf-8"))]
    assert {(page.parent / name).resolve() for page, _, name in shown} == {picture_of(source) for source in SOURCES}
    assert [name for _, words, name in shown if len(words) < 30] == []


def test_the_recording_is_of_an_apply_that_ended_well() -> None:
    head, *events = map(json.loads, (ROOT / "docs/pictures/apply.cast").read_text(encoding="utf-8").splitlines())
    assert (head["version"], head["width"], head["height"], head["env"]) == (2, 80, 24, {})
    said = "".join(text for _, kind, text in events if kind == "o")
    assert "local: valid" in said
    assert "3 of 3 nodes are Ready" in said
    assert not re.search(r"/(?:root|home|work|var/cache)/", said)
