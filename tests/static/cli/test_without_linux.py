"""pk3s on a computer that is not Linux, as far as this one can show it: without the names that only Linux has."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from static.contract_program.hosts import VERSION

ROOT = Path(__file__).parents[3]
DARWIN = Path(__file__).with_name("darwin.py")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1sKp2b1Xo6WmQ0c9v5m7yq3tq4n2v0w8x6y4z2A1b3"


def on_darwin(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fresh interpreter from which Linux was taken away."""
    paths = [str(ROOT / "src"), str(ROOT / "tests"), *(path for path in sys.path if path)]
    return subprocess.run(
        [sys.executable, str(DARWIN), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder), "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_module_of_both_programs_can_be_imported() -> None:
    done = on_darwin("--import-all")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


@pytest.mark.parametrize("verb", [(), ("apply",), ("destroy",)])
def test_help_is_shown(verb: tuple[str, ...]) -> None:
    done = on_darwin(*verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


@pytest.mark.parametrize("provider", ["local", "multipass", "aws"])
def test_init_writes_a_first_file(tmp_path: Path, provider: str) -> None:
    more = ("--region", "eu-central-1", "--allow", "192.0.2.0/24") if provider == "aws" else ()
    done = on_darwin("init", "--provider", provider, "--version", VERSION, *more, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert provider in (tmp_path / "cluster.yaml").read_text()


def test_plan_over_ssh_is_shown(tmp_path: Path) -> None:
    write(tmp_path, "onprem", address="10.0.0.11", hostKey=KEY)
    done = on_darwin("plan", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "start:k3s" in done.stdout


def test_local_machines_are_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    write(tmp_path, "local")
    done = on_darwin("plan", folder=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "[local.system]" in done.stderr
    assert "this computer runs darwin" in done.stderr
    assert "multipass" in done.stderr


def write(folder: Path, kind: str, **node: str) -> None:
    """A cluster file of one server, and its release."""
    binary = b"a binary"
    release = folder / "release" / VERSION
    release.mkdir(parents=True)
    (release / "k3s").write_bytes(binary)
    (release / "sha256sum-amd64.txt").write_text(f"{hashlib.sha256(binary).hexdigest()}  k3s\n")
    spec = {
        "provider": {"kind": kind},
        "k3s": {"version": VERSION, "artifacts": {"source": str(folder / "release")}},
        "nodes": [{"name": "server-1", "role": "server", **node}],
    }
    head = {"apiVersion": "productive-k3s/v1alpha1", "kind": "Cluster", "metadata": {"name": "edge"}}
    (folder / "cluster.yaml").write_text(yaml.safe_dump({**head, "spec": spec}))
