"""docs/checks.md names every check that a validation can report, with the severity that a failure of it can have."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/checks.md"
PLACES = (
    "src/productive_k3s/checks",
    "src/productive_k3s/verbs/validate.py",
    "src/productive_k3s_infra/validate",
)
# What a function of checks/judgement.py makes of an id; the first three arguments of CheckResult are not enough.
SEVERITIES = {"failed": "error", "judged": "error", "warned": "warning"}
ID = re.compile(r"[a-z0-9]+(\.[a-z0-9-]+)+")


def modules() -> list[ast.Module]:
    files = [
        path for place in PLACES for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*"))
    ]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in files if path.suffix == ".py"]


def in_code() -> dict[str, set[str]]:
    """Return the severities of failures by the id of their check."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules():
        constants = names_of(module)
        for function in ast.walk(module):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                known = {**constants, **names_of(function)}
                for call in ast.walk(function):
                    if isinstance(call, ast.Call):
                        add(found, call, known)
    return found


def names_of(scope: ast.AST) -> dict[str, str]:
    """Return the names that stand for one text in a module or function, also where several are given at once."""
    found = {}
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=False))
            for name, text in pairs:
                if isinstance(name, ast.Name) and isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found[name.id] = text.value
    return found


def add(found: dict[str, set[str]], call: ast.Call, known: dict[str, str]) -> None:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in {*SEVERITIES, "passed", "CheckResult", "answer"} or not call.args:
        return
    first = call.args[0]
    text = known.get(first.id, "") if isinstance(first, ast.Name) else getattr(first, "value", "")
    if not isinstance(text, str) or not ID.fullmatch(text):
        return
    found[text] |= set()
    if name == "CheckResult":
        severity = call.args[3].value if len(call.args) > 3 and isinstance(call.args[3], ast.Constant) else ""
        found[text] |= {str(severity)} if severity else set()
    elif name == "answer":
        # disk.free chooses one of the two by how much is left.
        found[text] |= {"error", "warning"}
    elif name != "passed":
        found[text].add(SEVERITIES[name])


def in_document() -> dict[str, set[str]]:
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    ids = [row[0].strip("`") for row in cells]
    assert len(ids) == len(set(ids)), "a check has two rows"
    assert all(len(row) == 5 and all(row) for row in cells), "a row is not whole"
    return {row[0].strip("`"): set(row[1].split(" or ")) for row in cells}


def test_every_check_has_its_row() -> None:
    assert set(in_code()) == set(in_document())
    assert len(in_document()) > 25


def test_what_a_failure_means_is_that_of_the_code() -> None:
    code, document = in_code(), in_document()
    assert {name: code[name] for name in document} == document


def test_the_walk_sees_every_text_that_looks_like_a_check() -> None:
    """A check whose id is made in a way that the walk does not know would have no row, and nobody would miss it."""
    kinds = {name.partition(".")[0] for name in in_code()} - {"host"}
    known = set(in_code()) | {"productive-k3s.io"}
    for module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ID.fullmatch(node.value):
                assert node.value.partition(".")[0] not in kinds or node.value in known, node.value
