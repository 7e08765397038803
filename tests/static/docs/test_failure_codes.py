"""docs/failure-codes.md says what the code can say: all codes, their exit codes, and tests that really name them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from productive_k3s_infra.preflight.rules import RULES
from static.docs.failure_codes import Walk, read_modules

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/failure-codes.md"
TESTS = ROOT / "tests"
# They tell something and stop nothing.
REMARKS = {"file.newer-version", "file.no-effect", "file.version-past-end"}


@dataclass(frozen=True)
class Row:
    codes: tuple[str, ...]
    exits: str
    tested: str


def rows() -> list[Row]:
    """Return the rows of the tables of codes."""
    found = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 5:
            found.append(Row(tuple(quoted(cells[0])), cells[1], cells[4]))
    return found


def cases() -> list[list[str]]:
    """Return the rows of the table of bad input: case, level, codes, tests."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Bad input")[2]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk(read_modules(ROOT / "src"))


def test_no_code_escapes_the_walk(walk: Walk) -> None:
    assert not walk.lost
    assert len(walk.codes) > 200


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('def f():\n    return Failure(code="a.keyword")', {"a.keyword": {5}}),
        ('def f():\n    return Failure("a.place", "what", "seen", "do", 4)', {"a.place": {4}}),
        ('def f(x):\n    return Failure("a.one" if x else "a.other", "what")', {"a.one": {5}, "a.other": {5}}),
        ('def g(c):\n    return Failure(f"a.{c}", "w", exit_code=2)\ndef f():\n    g("through")', {"a.through": {2}}),
        (
            'T = {1: ("a.table", "w")}\ndef f(x):\n    c, w = T.get(x, ("a.default", "w"))\n    return Failure(c, w)',
            {"a.table": {5}, "a.default": {5}},
        ),
        ("def f(x):\n    return Failure(x.unknown(), 'what')", None),
    ],
)
def test_what_the_walk_sees(tmp_path: Path, text: str, codes: dict[str, set[int]] | None) -> None:
    record = "@dataclass\nclass Failure:\n    code: str\n    what: str\n"
    (tmp_path / "module.py").write_text(f"{record}{text}\n")
    walk = Walk(read_modules(tmp_path))
    assert (walk.exits, bool(walk.lost)) == (codes or {}, codes is None)


def test_two_classes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    record = "@dataclass\nclass Meaning:\n"
    (tmp_path / "one.py").write_text(f"{record}    code: str\n    what: str\n\nM = Meaning('a.one', 'what')\n")
    (tmp_path / "other.py").write_text(f"{record}    what: str\n    code: str\n\nM = Meaning('what', 'a.other')\n")
    assert set(Walk(read_modules(tmp_path)).codes) == {"a.one", "a.other"}


def test_every_code_has_one_row(walk: Walk) -> None:
    documented = [code for row in rows() for code in row.codes]
    assert sorted(documented) == sorted(set(documented))
    assert set(walk.codes) - set(documented) == set(), "codes without a row"
    assert set(documented) - set(walk.codes) == set(), "rows without a code"


def test_exit_codes_are_those_of_the_code(walk: Walk) -> None:
    wrong = {
        code: (row.exits, walk.exits[code])
        for row in rows()
        for code in row.codes
        if code not in REMARKS and row.exits != ", ".join(map(str, sorted(walk.exits[code])))
    }
    assert not wrong
    assert {code for row in rows() if row.exits == "-" for code in row.codes} == REMARKS


def test_tests_that_are_named_name_the_code() -> None:
    for row in rows():
        files = quoted(row.tested)
        assert files, ("no test shows it", row)
        for file in files:
            text = (TESTS / file).read_text(encoding="utf-8")
            assert any(re.search(rf"(?<![\w.-]){re.escape(code)}(?![\w-])", text) for code in row.codes), (row, file)


def test_levels_fit_the_folders() -> None:
    for row in rows():
        for part in row.tested.split("; "):
            level, _, files = part.partition(": ")
            for file in quoted(files):
                assert level in allowed_levels(file), (row.codes, part)
    for _, levels, _, tests in cases():
        for test in quoted(tests):
            assert allowed_levels(test) & set(levels.split(", ")), test


def allowed_levels(file: str) -> set[str]:
    if file.startswith(("live/", "contract/k3s/")):
        return {"lab"}
    return {"contract"} if file.startswith("contract/") else {"static", "simulated"}


def test_cases_name_codes_and_tests_that_exist() -> None:
    known = {code for row in rows() for code in row.codes} | preflight_ids()
    assert len(cases()) >= 30
    for case, _, codes, tests in cases():
        assert set(quoted(codes)) <= known, case
        assert tests == "none" or quoted(tests), case
        for test in quoted(tests):
            file, _, name = test.partition("::")
            assert (TESTS / file).is_file(), test
            assert not name or f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), test


def preflight_ids() -> set[str]:
    return {rule.id for rule in RULES}
