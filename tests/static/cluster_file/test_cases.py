"""Each file of `cases/` beside what the loader says of it.

`python -m static.cluster_file.test_cases` (in tests/) renews it.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import cast

import pytest

from productive_k3s_infra import cluster_file
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.cluster_file.mistake import Mistake
from productive_k3s_infra.errors import ClusterFileInvalid
from static.cluster_file.files import surround

CASES = Path(__file__).parent / "cases"
SOURCES = Path(cluster_file.__file__).parent
# Said by tests of their own (test_load.py): bytes, missing files, remarks; and the two that stand for no rule.
ELSEWHERE = {
    "file.unreadable",
    "file.encoding",
    "file.no-effect",
    "file.newer-version",
    "file.invalid",
    "file.version-past-end",
}


def said_of(case: Path, folder: Path) -> str:
    """Return the loader's mistakes, a line each, with what depends on the folder replaced."""
    environment = surround(folder)
    (folder / "cluster.yaml").write_bytes(case.read_bytes())
    before = Path.cwd()
    os.chdir(folder)
    try:
        load_cluster_file(Path("cluster.yaml"), environment)
    except ClusterFileInvalid as error:
        mistakes = cast("tuple[Mistake, ...]", error.mistakes)
        return "".join(f"{item} [{item.code}]\n" for item in mistakes).replace(str(folder), "<folder>")
    finally:
        os.chdir(before)
    return "no mistake\n"


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yaml")), ids=lambda case: case.stem)
def test_the_loader_says_what_is_written_beside_the_case(case: Path, tmp_path: Path) -> None:
    assert said_of(case, tmp_path) == case.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_code_has_a_case_and_stands_in_the_reference() -> None:
    codes = {
        code
        for source in SOURCES.glob("*.py")
        for code in re.findall(r'"((?:file|request)\.[a-z-]+)"', source.read_text(encoding="utf-8"))
    }
    seen = {
        code
        for case in CASES.glob("*.txt")
        for code in re.findall(r"\[(\S+)\]$", case.read_text(encoding="utf-8"), re.MULTILINE)
    }
    reference = (SOURCES.parents[2] / "docs" / "cluster-file.md").read_text(encoding="utf-8")
    assert codes - seen == ELSEWHERE
    assert [code for code in sorted((codes | seen) - {"file.invalid"}) if f"`{code}`" not in reference] == []


if __name__ == "__main__":
    for path in sorted(CASES.glob("*.yaml")):
        with tempfile.TemporaryDirectory() as name:
            path.with_suffix(".txt").write_text(said_of(path, Path(name)), encoding="utf-8")
