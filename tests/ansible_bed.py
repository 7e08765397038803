"""Ansible as a person runs it, with the collection of this checkout.

find(version)    the folder with `ansible-playbook` of a version: that of the tests, or the oldest or newest that the
                 collection is for, which is made once for this computer with a Python that it runs on
Playbook         runs a playbook of the collection on an inventory; `play(...)` returns how it ended
recorded(...)    an inventory whose hosts are stand-ins on this computer: they note what they are asked, and answer as
                 the test says
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import pythons
from productive_k3s_infra.workspace.ansible_files import AnsibleInventory, write_ansible

COLLECTION = Path(__file__).resolve().parent.parent / "ansible"
CACHE = Path(os.environ.get("ANSIBLE_TEST_CACHE", "/var/cache/productive-k3s/ansible"))
OLDEST, LOCKED, NEWEST = "2.16.19", "2.19", "2.21.5"
VERSIONS = (OLDEST, LOCKED, NEWEST)
# The Python that a version runs on: from, and before.
_PYTHONS = {OLDEST: ((3, 10), (3, 13)), NEWEST: ((3, 12), (4, 0))}
_MOST_SECONDS = 300.0


@functools.cache
def find(version: str) -> Path:
    """Return the folder of a version's commands; where no Python is new enough the test is skipped, and says so."""
    if version == LOCKED:
        return Path(sys.executable).parent
    first, end = _PYTHONS[version]
    python = next((found for found in pythons.find() if first <= _version(found) < end), None)
    if python is None:
        needed = f"{first[0]}.{first[1]} or newer, before {end[0]}.{end[1]}"
        pytest.skip(f"ansible-core {version} was NOT tested: no Python {needed} on this computer")
    folder = CACHE / f"{version}-python{'.'.join(map(str, _version(python)))}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            subprocess.run((python, "-m", "venv", "--clear", folder / "venv"), check=True)
            pip = (folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check")
            subprocess.run((*pip, f"ansible-core=={version}"), check=True)
            (folder / "complete").touch()
    return folder / "venv" / "bin"


def _version(python: str) -> tuple[int, int]:
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run((python, "-I", "-c", code), capture_output=True, text=True, check=True)
    major, minor = done.stdout.split()
    return int(major), int(minor)


@functools.cache
def _sockets() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pk3s-ssh-")


@dataclass(frozen=True)
class Ended:
    """How a playbook ended. `recap` is by host what it counted."""

    words: tuple[str, ...]
    code: int
    out: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        found = re.findall(r"^(\S+) +: (ok=.*)$", self.out.partition("PLAY RECAP")[2], re.MULTILINE)
        return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in found}

    def count(self, what: str) -> dict[str, int]:
        """Return one count of every host that has any of it."""
        return {host: counts[what] for host, counts in self.recap.items() if counts[what]}

    @property
    def plain(self) -> str:
        """What was said, as one line."""
        return " ".join(self.out.split())

    def __str__(self) -> str:
        return f"ansible-playbook {' '.join(self.words)} ended with {self.code}\n{self.out}"


@dataclass(frozen=True)
class Playbook:
    """Ansible with a home of its own: nothing of this computer's configuration counts."""

    folder: Path
    inventory: Path
    version: str = LOCKED

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        home = self.folder / ".ansible"
        collections = self.folder / "collections"
        link = collections / "ansible_collections" / "productive_k3s" / "infra"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(COLLECTION)
        settings_file = self.folder / "ansible.cfg"
        settings_file.touch()
        own = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        settings = {
            "ANSIBLE_HOME": home,
            "ANSIBLE_LOCAL_TEMP": home / "tmp",
            # Sockets have short paths. Connections outlive a run by some seconds only.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": _sockets().name,
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=15s",
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_CONFIG": settings_file,
            "ANSIBLE_FORKS": 10,
            "ANSIBLE_NOCOLOR": 1,
            "PYTHONDONTWRITEBYTECODE": 1,
            "HOME": self.folder,
        }
        return {**own, **{name: str(value) for name, value in settings.items()}}

    def play(self, playbook: str, *words: str, **environment: str) -> Ended:
        """Run a playbook to its end; a name without a folder is one of the collection."""
        named = playbook if "/" in playbook else f"productive_k3s.infra.{playbook}"
        done = subprocess.run(
            (find(self.version) / "ansible-playbook", "-i", self.inventory, named, *words),
            cwd=self.folder,
            env={**self.environment, **environment},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_MOST_SECONDS,
        )
        return Ended((playbook, *words), done.returncode, done.stdout)

    def expect(self, code: int, playbook: str, *words: str) -> Ended:
        """Run a playbook and insist on how it ends."""
        ended = self.play(playbook, *words)
        assert ended.code == code, f"not {code}: {ended}"
        return ended


# Stands in for the loader: it notes what it reads, and says what the test wrote down for that host and verb.
_RECORDER = """\
import fcntl, json, sys
folder, host = sys.argv[1:3]
order = json.loads(sys.stdin.readline())
words = order["arguments"]
verb = "look" if "--plan" in words else "note" if "--note" in words else words[0]
with open(folder + "/calls", "a") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.write(json.dumps({"host": host, "verb": verb, "order": order, "argv": sys.argv}) + "\\n")
answer = json.load(open(folder + "/answers"))[host].get(verb)
if answer is None:
    sys.exit("sh: 1: no answer to " + verb)
print("Welcome to this host")
print(json.dumps({"type": "hello", "program": "", "python": "3", "schema": 1}))
print(json.dumps({"type": "result", "outcome": "unchanged", **answer}))
"""


@dataclass(frozen=True)
class Call:
    """What a host was asked: all that its standard input said."""

    host: str
    verb: str
    order: Mapping[str, Any]
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Recorded:
    """An inventory on disk, and what its hosts were asked so far."""

    playbook: Playbook
    folder: Path

    def answer(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Say what the hosts answer, by host and verb."""
        (self.folder / "answers").write_text(json.dumps(answers))

    @property
    def calls(self) -> list[Call]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [Call(item["host"], item["verb"], item["order"], tuple(item["argv"])) for item in found]

    def add(self, name: str, variables: Mapping[str, Any]) -> None:
        """Add variables as a person does: `group_vars/NAME` beside the written ones."""
        (self.folder / "inventory" / "group_vars" / f"{name}.yml").write_text(yaml.safe_dump(dict(variables)))


def recorded(folder: Path, inventory: AnsibleInventory, version: str = LOCKED) -> Recorded:
    """Write an inventory as pk3s does, for hosts that are stand-ins; `host` in their argument vector says which."""
    command = (sys.executable, "-I", "-c", "exec(eval(input()))", str(folder), "{{ inventory_hostname }}")
    own = replace(inventory, loader=ascii(_RECORDER).encode() + b"\n")
    write_ansible(folder / "inventory", own)
    described = yaml.safe_load((folder / "inventory/group_vars/all.yml").read_text())["remote_cluster_program"]
    local = {"ansible_connection": "local", "ansible_become": False}
    for group in ("servers", "agents"):
        text = yaml.safe_dump({**local, "remote_cluster_program": {**described, "command": list(command)}})
        (folder / "inventory" / "group_vars" / f"{group}.yml").write_text(text)
    return Recorded(Playbook(folder, folder / "inventory" / "hosts.yml", version), folder)
