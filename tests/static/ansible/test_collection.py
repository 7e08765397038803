"""The collection as others get it: ansible-lint at its production profile, built, installed offline, documented."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from ansible_bed import COLLECTION, LOCKED, OLDEST, VERSIONS, find

CACHES = shutil.ignore_patterns(".ansible", "__pycache__", ".ruff_cache", "*.tar.gz")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of this computer's Ansible counts, and nothing can be downloaded."""
    settings = tmp_path / "ansible.cfg"
    settings.touch()
    return {
        "PATH": f"{find(LOCKED)}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path / ".ansible"),
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "NO_COLOR": "1",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(environment: dict[str, str], folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )


def test_ansible_lint_at_the_production_profile(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "ansible_collections" / "productive_k3s" / "infra"
    shutil.copytree(COLLECTION, folder, ignore=CACHES)
    done = run(environment, folder, "ansible-lint", "--nocolor", "--strict")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Profile 'production' was required, and it passed" in done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_built_installed_and_documented(version: str, tmp_path: Path, environment: dict[str, str]) -> None:
    commands = find(version)
    source = tmp_path / "source"
    shutil.copytree(COLLECTION, source, ignore=CACHES)
    (source / ".ansible").mkdir()
    (source / ".ansible" / "left").touch()
    galaxy = (commands / "ansible-galaxy", "collection")
    built = run(environment, tmp_path, *galaxy, "build", source)
    assert built.returncode == 0, built.stderr
    archive = next(tmp_path.glob("productive_k3s-infra-*.tar.gz"))
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
    assert {
        "LICENSE",
        "playbooks/cluster.yml",
        "roles/remote_cluster/README.md",
        "plugins/action/productive_k3s.py",
        "plugins/plugin_utils/decisions.py",
    } <= names
    assert not [name for name in names if name.startswith((".", "ruff.toml"))]
    installed = run(environment, tmp_path, *galaxy, "install", "--offline", "-p", tmp_path, archive)
    assert installed.returncode == 0, installed.stderr
    shown = run(environment, tmp_path, commands / "ansible-doc", "-t", "role", "productive_k3s.infra.remote_cluster")
    assert all(f"remote_cluster_{name}" in shown.stdout for name in ("request", "validate", "ca")), shown
    shown = run(environment, tmp_path, commands / "ansible-doc", "productive_k3s.infra.productive_k3s")
    assert "Runs the host program as" in shown.stdout, shown


def test_it_says_under_which_licence_and_where_it_lives(tmp_path: Path) -> None:
    assert (COLLECTION / "LICENSE").read_bytes() == (COLLECTION.parent / "LICENSE").read_bytes()
    described = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
    for key in ("repository", "documentation", "homepage", "issues"):
        # Until it is published these are nobody's names.
        assert (urlsplit(described[key]).hostname or "").endswith(".example"), key
    assert described["tags"]


def test_it_asks_for_the_oldest_ansible_that_it_is_tried_with() -> None:
    minor = ".".join(OLDEST.split(".")[:2])
    assert yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text()) == {"requires_ansible": f">={minor}.0"}
    meta = yaml.safe_load((COLLECTION / "roles/remote_cluster/meta/main.yml").read_text())
    assert meta["galaxy_info"]["min_ansible_version"] == minor
    for page in (COLLECTION / "README.md", COLLECTION.parent / "docs/how-to/ansible.md"):
        assert f"ansible-core {minor} or newer" in page.read_text()


def test_every_entry_point_is_specified_and_documented() -> None:
    role = COLLECTION / "roles/remote_cluster"
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    # What the others bring in, and nobody runs alone.
    files = {path.stem for path in (role / "tasks").glob("*.yml")} - {"stage"}
    assert set(specs) == files
    rows = re.search(r"^\| `tasks_from`.*?\n\n", (role / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert rows is not None
    named = {name for row in rows.group().split("\n")[2:-2] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == files
    for name, spec in specs.items():
        assert spec["short_description"], name
        assert all(option.get("description") for option in spec["options"].values()), name


def test_every_variable_is_known_specified_and_documented() -> None:
    role = COLLECTION / "roles/remote_cluster"
    variables = yaml.safe_load((role / "vars/main.yml").read_text())
    known, registered = (set(variables[f"remote_cluster__{name}"]) for name in ("variables", "registered"))
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    assert {name for spec in specs.values() for name in spec["options"]} - registered == known
    assert set(yaml.safe_load((role / "defaults/main.yml").read_text())) <= known
    readme = (role / "README.md").read_text()
    assert all(f"| `{name}` |" in readme for name in known)
