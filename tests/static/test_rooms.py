"""The rooms of both programs keep what they promise: their size, and that what calls itself pure is."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src"
PROGRAMS = ("productive_k3s", "productive_k3s_infra")
# All that can change a host: an auditor reads it in a morning.
EFFECTS_LINES = 1500
MODULE_LINES = 410
IMPURE = ("asyncio", "asyncssh", "random", "secrets", "socket", "subprocess", "time")


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(SOURCES).with_suffix("").parts): path
        for program in PROGRAMS
        for path in sorted((SOURCES / program).rglob("*.py"))
        if path.name != "__init__.py"
    }


def says_pure(path: Path) -> bool:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").startswith("PURE:")


PURE = sorted(name for name, path in modules().items() if says_pure(path))


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        *PROGRAMS, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def test_what_changes_a_host_is_read_in_a_morning() -> None:
    files = (SOURCES / "productive_k3s" / "effects").rglob("*.py")
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= EFFECTS_LINES


def test_no_module_is_too_long_to_read() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > MODULE_LINES} == {}


def test_there_are_pure_modules() -> None:
    assert len(PURE) > 40


@pytest.mark.parametrize("module", PURE)
def test_what_says_that_it_is_pure_reaches_nothing_that_is_not(module: str, graph: grimp.ImportGraph) -> None:
    found = {name: graph.find_shortest_chain(module, name) for name in IMPURE if name in graph.modules}
    assert {name: chain for name, chain in found.items() if chain} == {}
