"""The contract program on a lab machine as a person has it there: one file and a release directory, run as root.

`run` gives the wire of one run, read and checked for its form. `run_until` ends a run from within at an exact line of
its wire, or at an exact effect: at the n-th of them the signal is sent, so nothing depends on how fast the machine is.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_bed import Bed, Machine, Release
from productive_k3s_infra.artifacts.program import build_program

PROGRAM = "/root/productive-k3s.pyz"
RELEASE = "/root/release"
TAP = "/root/given/tap.py"
LOCK = "/run/productive-k3s/lock"
SINGLE_NODE = f"single-node --artifacts {RELEASE}"

# Runs the program in this process, with its standard output (or its door to files and processes) behind a counter.
_TAP = r"""
import os, runpy, signal, sys

what, count, name, program = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sys.argv = sys.argv[4:]
sys.path.insert(0, program)
seen = 0

def step():
    global seen
    seen += 1
    if seen == count:
        os.kill(os.getpid(), getattr(signal, name))

class Lines:
    def __init__(self, stream):
        self.stream = stream
    def write(self, text):
        self.stream.write(text)
        self.stream.flush()
        if what == "line" or '"kind":"%s"' % what in text:
            step()
    def flush(self):
        self.stream.flush()
    def fileno(self):
        return self.stream.fileno()

if what == "effect":
    from productive_k3s.doors import local
    def counted(method):
        async def call(self, *given, **named):
            step()
            return await method(self, *given, **named)
        return call
    changing = "write copy adopt rename link remove remove_tree empty_tree make_directory run download"
    for method in changing.split():
        setattr(local.LocalSystem, method, counted(getattr(local.LocalSystem, method)))
else:
    sys.stdout = Lines(sys.stdout)
runpy.run_path(program, run_name="__main__")
"""


@dataclass(frozen=True)
class Run:
    """How one run went: its exit code, what it said, and its last line, {} if it was ended before that."""

    exit_code: int
    events: tuple[Mapping[str, Any], ...]
    result: Mapping[str, Any]
    text: str
    errors: str

    @property
    def outcome(self) -> str:
        return str(self.result.get("outcome", ""))

    @property
    def changes(self) -> list[str]:
        """The ids of the changes that were made, or planned."""
        return [change["id"] for change in self.result.get("changes", ())]

    @property
    def codes(self) -> list[str]:
        return [failure["code"] for failure in self.result.get("failures", ())]

    @property
    def failure(self) -> Mapping[str, str]:
        """The one failure; every one that is shown has its evidence and says what to do."""
        (one,) = self.result["failures"]
        assert all(one[part] for part in ("what", "evidence", "remedy")), one
        found: Mapping[str, str] = one
        return found

    def of(self, kind: str) -> list[str]:
        return [event["change"] for event in self.events if event["kind"] == kind]


def put_program(bed: Bed, machine: Machine, path: str = PROGRAM) -> None:
    """Put the program on a machine."""
    bed.put(machine, path, build_program().data, mode="755")


def equip(bed: Bed, release: Release, *machines: Machine, images: bool = False) -> None:
    """Put the program and the release's files on machines; without images no pod runs, which few tests need."""
    names = ["k3s", "sha256sum-amd64.txt", *([release.images.name] if images else [])]
    for machine in machines:
        put_program(bed, machine)
        bed.put(machine, TAP, _TAP)
        for name in names:
            give(bed, machine, release.directory / release.version / name, f"{RELEASE}/{release.version}/{name}")


def give(bed: Bed, machine: Machine, source: Path, target: str) -> None:
    """Copy a large file onto a machine from beside it: its file system is mounted on this computer."""
    place = bed.root / machine.set / machine.name / "root" / target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(("cp", "--preserve=mode", source, place), check=True)


def run(bed: Bed, machine: Machine, words: str, *, data: bytes = b"", seconds: float = 120) -> Run:
    """Run the program with the wire; there is a result unless somebody ended it."""
    return read_wire(bed.try_ssh(machine, f"python3 {PROGRAM} {words} --json", data=data, seconds=seconds))


def run_until(bed: Bed, machine: Machine, words: str, *, what: str, count: int, signal: str = "SIGKILL") -> Run:
    """Run the program, and send it the signal at the n-th `what`: `line`, an event's kind, or `effect`."""
    return read_wire(bed.try_ssh(machine, f"python3 {TAP} {what} {count} {signal} {PROGRAM} {words} --json"))


def read_wire(done: subprocess.CompletedProcess[str]) -> Run:
    """Read what a run printed: a hello, events, and a result unless it was ended before."""
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    if documents:
        assert documents[0]["type"] == "hello", documents[0]
    kinds = [document["type"] for document in documents[1:]]
    result = documents[-1] if kinds[-1:] == ["result"] else {}
    assert set(kinds[: len(kinds) - bool(result)]) <= {"event"}, kinds
    events = tuple(document for document in documents[1:] if document["type"] == "event")
    return Run(done.returncode, events, result, done.stdout, done.stderr)


def succeed(bed: Bed, machine: Machine, words: str, *, data: bytes = b"") -> Run:
    """Run the program and require that it ended well."""
    done = run(bed, machine, words, data=data)
    assert done.exit_code == 0, f"{words}: {done.outcome} {done.result.get('failures')}\n{done.errors}"
    return done


def show(bed: Bed, machine: Machine, words: str) -> str:
    """Run the program as a person sees it, and return the text; how it ends does not matter."""
    done = bed.try_ssh(machine, f"python3 {PROGRAM} {words}")
    return done.stdout + done.stderr


def plan(bed: Bed, machine: Machine, words: str = SINGLE_NODE) -> list[str]:
    """Return the ids of the changes that a run would make now."""
    return succeed(bed, machine, f"{words} --plan").changes


def token(bed: Bed, server: Machine, name: str = "agent") -> str:
    """Return a token of the server's cluster, as the program gives it."""
    found: str = succeed(bed, server, "token").result["data"][name]
    return found


def ca_hash(bed: Bed, machine: Machine) -> str:
    """Return the digest of the cluster's CA on a server, '' where there is none yet."""
    path = "/var/lib/rancher/k3s/server/tls/server-ca.crt"
    return bed.ssh(machine, f"test ! -s {path} || sha256sum < {path}").partition(" ")[0]


def node_uid(bed: Bed, machine: Machine) -> str:
    """Return the uid of the machine's Node as a server's API has it, '' where the API or the Node is not there yet."""
    words = f"/usr/local/bin/k3s kubectl get node {shlex.quote(machine.name)} -o jsonpath='{{.metadata.uid}}'"
    done = bed.try_ssh(machine, f"timeout 5 {words}")
    return done.stdout.strip() if done.returncode == 0 else ""
