"""The host program as one file: reproducible, complete, and nothing in it that a host does not need."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import productive_k3s
import pythons
from productive_k3s_infra.artifacts.program import build_program

PYTHONS = pythons.find()


def test_two_builds_are_equal_bytes(tmp_path: Path) -> None:
    """Another process, another hash seed, another umask, other times."""
    command = (sys.executable, "-m", "productive_k3s_infra.artifacts.program", str(tmp_path / "out.pyz"))
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, umask=0o077)
    data = (tmp_path / "out.pyz").read_bytes()
    assert data == build_program().data
    assert build_program().sha256 == hashlib.sha256(data).hexdigest()
    assert done.stdout.split()[0] == build_program().sha256


def test_all_of_the_package_is_in_it_and_nothing_else() -> None:
    with zipfile.ZipFile(io.BytesIO(build_program().data)) as archive:
        names = archive.namelist()
        entries = archive.infolist()
    folder = Path(productive_k3s.__file__).parent
    wanted = {
        f"productive_k3s/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.suffix in {".py", ".sh", ".json"} and "__pycache__" not in path.parts
    }
    assert wanted == {name for name in names if name.startswith("productive_k3s/")}
    assert {"productive_k3s/k3s/k3s-flags.json", "productive_k3s/k3s/scripts/k3s-killall.sh"} < wanted
    assert {name.partition("/")[0] for name in names} == {"__main__.py", "productive_k3s", "yaml"}
    assert "yaml/cyaml.py" not in names
    assert names == sorted(names)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("python", PYTHONS)
def test_it_runs_alone(python: str, tmp_path: Path) -> None:
    program = tmp_path / "productive-k3s.pyz"
    program.write_bytes(build_program().data)
    done = subprocess.run((python, "-I", program, "--version"), check=True, capture_output=True, text=True, cwd="/")
    assert done.stdout == f"productive-k3s {productive_k3s.__version__}\n"


def test_it_is_an_executable_file(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "productive_k3s_infra.artifacts.program")
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2
    done = subprocess.run((*command, str(tmp_path / "no" / "where")), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No such file" in done.stderr
    subprocess.run((*command, str(tmp_path / "p")), check=True, capture_output=True)
    assert (tmp_path / "p").stat().st_mode & 0o111 == 0o111
    assert (tmp_path / "p").read_bytes().startswith(b"#!/usr/bin/env python3\n")
