"""docs/failure-codes.md says what the code can say: all codes and their exit codes. failure_codes.yaml names the tests
that show them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from productive_k3s_infra.preflight.rules import RULES
from static.docs.failure_codes import Walk, read_modules

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/failure-codes.md"
TESTS = ROOT / "tests"
RECORD = TESTS / "static/docs/failure_codes.yaml"
# They tell something and stop nothing.
REMARKS = {"file.newer-version", "file.no-effect", "file.version-past-end"}


@dataclass(frozen=True)
class Row:
    codes: tuple[str, ...]
    happened: str
    remedy: str
    exits: str


@dataclass(frozen=True)
class Shown:
    """Codes, and by the level of a test the files that show them."""

    codes: tuple[str, ...]
    levels: dict[str, list[str]]


@dataclass(frozen=True)
class Case:
    """What somebody or something does wrong, the codes it ends with, and the tests that show it."""

    case: str
    levels: list[str]
    codes: list[str]
    tests: list[str]


def rows() -> list[Row]:
    """Return the rows of the tables of codes: code, what happened, what to do, exit."""
    found = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 4:
            found.append(Row(tuple(quoted(cells[0])), cells[1], cells[2], cells[3].strip("| ")))
    return found


def record() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(RECORD.read_text(encoding="utf-8"))
    return found


def shown() -> list[Shown]:
    return [
        Shown(tuple(item["codes"]), {level: files for level, files in item.items() if level != "codes"})
        for item in record()["codes"]
    ]


def cases() -> list[Case]:
    return [Case(**item) for item in record()["cases"]]


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


def test_a_reader_is_told_nothing_of_tests() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    heads = {line for line in text.splitlines() if line.startswith("| code ")}
    assert heads == {"| code | what happened | what to do | exit |"}
    assert re.findall(r"\btests?(?:ed)?\b|\.py\b", text) == []


def test_each_row_says_in_sentences_what_happened_and_what_to_do() -> None:
    for row in rows():
        assert row.happened[0].isupper() or row.happened[0] in "`$" or row.happened.startswith("pk3s "), row.codes
        assert row.happened.endswith("."), row.codes
        assert row.remedy.endswith((".", "`")), row.codes
        assert not row.remedy.startswith("See "), row.codes


def test_each_code_is_shown_by_a_test(walk: Walk) -> None:
    codes = [code for item in shown() for code in item.codes]
    assert sorted(codes) == sorted(set(codes))
    assert set(codes) == set(walk.codes)


def test_tests_that_are_named_name_the_code() -> None:
    for item in shown():
        files = [file for level in item.levels.values() for file in level]
        assert files, ("no test shows it", item)
        for file in files:
            text = (TESTS / file).read_text(encoding="utf-8")
            assert any(re.search(rf"(?<![\w.-]){re.escape(code)}(?![\w-])", text) for code in item.codes), (item, file)


def test_levels_fit_the_folders() -> None:
    for item in shown():
        for level, files in item.levels.items():
            assert [file for file in files if level not in allowed_levels(file)] == [], item.codes
    for case in cases():
        assert [test for test in case.tests if not allowed_levels(test) & set(case.levels)] == [], case.case


def allowed_levels(file: str) -> set[str]:
    if file.startswith(("live/", "contract/k3s/")):
        return {"lab"}
    return {"contract"} if file.startswith("contract/") else {"static", "simulated"}


def test_cases_name_codes_and_tests_that_exist() -> None:
    known = {code for row in rows() for code in row.codes} | preflight_ids()
    assert len(cases()) >= 30
    for case in cases():
        assert set(case.codes) <= known, case
        assert case.tests, case
        for test in case.tests:
            file, _, name = test.partition("::")
            assert (TESTS / file).is_file(), test
            assert not name or f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), test


def preflight_ids() -> set[str]:
    return {rule.id for rule in RULES}
