"""What `make dist` builds: a wheel from the source distribution, with all that an installed pk3s speaks of."""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from productive_k3s import __version__
from productive_k3s_infra._shipped import PAGES, SCHEMA

ROOT = Path(__file__).parents[2]
SHIPPED = "productive_k3s_infra/shipped"
COLLECTION = f"{SHIPPED}/ansible_collections/productive_k3s/infra"
MODULE = "productive_k3s_infra/providers/aws/modules/aws-nodes"
# A page of the repository, as a message would name it.
PAGE = re.compile(r"\bdocs/[\w/.-]+|\b[\w-]+\.md\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# What finds the page, and what says where a rule comes from, in comments and docstrings.
_PROSE = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""|#[^\n]*')


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_version_is_said_once(dist: Path) -> None:
    names = {path.name for path in dist.iterdir()}
    name = f"productive_k3s_infra-{__version__}"
    assert names == {f"{name}-py3-none-any.whl", f"{name}.tar.gz"}
    assert yaml.safe_load((ROOT / "ansible/galaxy.yml").read_text())["version"] == __version__


def test_pages_and_schema_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    for file in (*PAGES.values(), SCHEMA):
        assert wheel.read(f"{SHIPPED}/docs/{file}") == (ROOT / "docs" / file).read_bytes()


def test_the_collection_is_in_the_wheel_as_ansible_looks_for_it(wheel: zipfile.ZipFile) -> None:
    left_out = {"ruff.toml", ".ansible-lint", ".gitignore"}
    tracked = subprocess.run(
        ("git", "ls-files", "ansible"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {name.removeprefix("ansible/") for name in tracked} - left_out
    found = {name.removeprefix(f"{COLLECTION}/") for name in wheel.namelist() if name.startswith(COLLECTION)}
    assert found == wanted


def test_the_module_and_the_host_program_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    module = {f"{MODULE}/{path.name}" for path in (ROOT / "opentofu/modules/aws-nodes").glob("*.tf")}
    package = ROOT / "src/productive_k3s"
    program = {
        f"productive_k3s/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(module) > 3
    assert len(program) > 80
    assert module | program <= names


def test_all_three_commands_are_there(wheel: zipfile.ZipFile) -> None:
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    commands = re.findall(r"^([\w-]+) = ", wheel.read(entry).decode(), re.MULTILINE)
    assert commands == ["pk3s", "productive-k3s", "productive-k3s-infra"]


def test_nothing_that_is_said_names_a_page_by_its_place_in_the_repository(wheel: zipfile.ZipFile) -> None:
    said = {
        name: PAGE.findall(_PROSE.sub("", wheel.read(name).decode()))
        for name in wheel.namelist()
        if name.endswith(".py") and name != "productive_k3s_infra/_shipped.py"
    }
    assert {name: pages for name, pages in said.items() if pages} == {}


def test_links_of_texts_in_the_wheel_lead_to_what_is_in_it(wheel: zipfile.ZipFile) -> None:
    """The pages that `pk3s explain` prints are not opened as files: it prints commands in place of their links."""
    names = wheel.namelist()
    printed = {f"{SHIPPED}/docs/{file}" for file in PAGES.values()}
    texts = [name for name in names if name.endswith(".md") and name not in printed]
    places = {
        (name, target): posixpath.normpath(posixpath.join(posixpath.dirname(name), target.partition("#")[0]))
        for name in texts
        for target in LINK.findall(wheel.read(name).decode())
        if "://" not in target
    }
    assert len(texts) >= 4
    assert len(places) >= 2
    assert [
        link for link, place in places.items() if not any(f"{name}/".startswith(f"{place}/") for name in names)
    ] == []
