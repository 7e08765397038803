"""pk3s as a person runs it: a process of its own, on a cluster file in a folder of its own.

Site
    pk3s(*words) -> Done                 expect(code, *words) -> Done, or AssertionError with all that was said
    begin(*words) -> Running             its lines come while it works, and it can be interrupted or killed
    on_terminal(*words, answers=...)     the same with a terminal in front, whose questions are answered
    edited(old, new)                     the cluster file differs inside the block
    machine(name), bed                   the machines that the provider `local` made for it, and SSH to them
    kubectl(words), get(words)           from this computer, through the kubeconfig that pk3s handed out
    fingerprint()                        what a test that declares no change must leave as it is
    close()                              destroys the machines; what is left of them is an error
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import lab_bed
from lab_bed import REPOSITORY, Bed, Machine, Release
from productive_k3s_infra.hosts.wire.bootstrap import COMMAND
from productive_k3s_infra.providers.local import leftovers, machines
from productive_k3s_infra.providers.local.cgroup import detect, group_name
from productive_k3s_infra.providers.local.provider import set_name
from productive_k3s_infra.providers.local.store import DEFAULT_ROOT

PK3S = (sys.executable, "-m", "productive_k3s_infra")
_MOST_SECONDS = 300.0
_SAMPLE_SECONDS = 0.03


@dataclass(frozen=True)
class Done:
    """How a run of pk3s ended, and what it said."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON: nothing else may be on it."""
        return json.loads(self.out)

    @property
    def steps(self) -> dict[str, list[str]]:
        """The changes that were made, by step; every step was done."""
        assert {result["outcome"] for result in self.document["results"]} <= {"done"}, self
        return {result["step"]: result["changes"] for result in self.document["results"]}

    def __str__(self) -> str:
        return f"pk3s {' '.join(self.words)} ended with {self.code}\n{self.out}\n{self.err}"


@dataclass(frozen=True)
class Fingerprint:
    """The runs of the units by machine, the nodes' UIDs, and the machines that there are."""

    units: Mapping[str, tuple[str, str, str]]
    nodes: Mapping[str, str]
    machines: tuple[str, ...]


@dataclass
class Running:
    """A pk3s that works. Lines of standard error are events; standard output waits in a file."""

    process: subprocess.Popen[bytes]
    words: tuple[str, ...]
    out: Path
    said: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Give each line as soon as it is said."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.decode())
            yield self.said[-1]

    def until(self, pattern: str) -> str:
        """Return the first line that matches; pk3s goes on."""
        for line in self.lines():
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no line {pattern!r}:\n{self.end()}")

    def end(self) -> Done:
        """Wait until it has ended and return all that it said."""
        watch = threading.Timer(_MOST_SECONDS, self.process.kill)
        watch.start()
        try:
            for _line in self.lines():
                pass
            code = self.process.wait()
        finally:
            watch.cancel()
            assert self.process.stderr is not None
            self.process.stderr.close()
        return Done(self.words, code, self.out.read_text(), "".join(self.said))


@dataclass(frozen=True)
class Site:
    """A folder with a cluster file. `name` is the cluster's, `tool` the kubectl of the release."""

    path: Path
    release: Release
    tool: Path
    name: str = "local"

    @property
    def file(self) -> Path:
        return self.path / "cluster.yaml"

    @property
    def ssh_config(self) -> Path:
        """The person's ~/.ssh/config; its folder is there once the environment is."""
        return self.path / ".home" / ".ssh" / "config"

    @property
    def workspace(self) -> Path:
        return self.path / ".pk3s" / self.name

    @property
    def set(self) -> str:
        """The name of the machines' set."""
        return set_name(self.name, self.path)

    @cached_property
    def environment(self) -> dict[str, str]:
        """A person's environment with nothing of this one's home in it."""
        home, temporary = self.path / ".home", self.path / ".tmp"
        for folder in (home, temporary):
            folder.mkdir(exist_ok=True)
        own = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        own["PATH"] = f"{own_ssh(self.ssh_config)}:{own['PATH']}"
        places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(temporary)}
        # This checkout's pk3s, also where the interpreter has another one installed.
        own["PYTHONPATH"] = str(REPOSITORY / "src")
        return own | places | {"K3S_VERSION": self.release.version, "K3S_ARTIFACTS": str(self.release.directory)}

    def pk3s(self, *words: str, seconds: float = _MOST_SECONDS) -> Done:
        """Run pk3s to its end; nobody is there to be asked."""
        done = subprocess.run(
            (*PK3S, *words),
            cwd=self.path,
            env=self.environment,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
        return Done(words, done.returncode, done.stdout.decode(), done.stderr.decode())

    def expect(self, code: int, *words: str) -> Done:
        """Run pk3s and insist on how it ends."""
        done = self.pk3s(*words)
        assert done.code == code, f"not {code}: {done}"
        return done

    def begin(self, *words: str) -> Running:
        """Start pk3s."""
        out = self.path / ".out"
        with out.open("wb") as file:
            process = subprocess.Popen(
                (*PK3S, *words),
                cwd=self.path,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
            )
        return Running(process, words, out)

    @contextmanager
    def on_terminal(self, *words: str) -> Iterator[Terminal]:
        """Start pk3s with a terminal in front; at the end of the block it is ended, if it has not."""
        environment = {**self.environment, "TERM": "xterm", "COLUMNS": "200"}
        with in_front_of((*PK3S, *words), self.path, environment) as terminal:
            yield terminal

    @contextmanager
    def edited(self, *changes: tuple[str, str]) -> Iterator[None]:
        """Change the cluster file's text; afterwards it is what it was."""
        before = text = self.file.read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        self.file.write_text(text)
        try:
            yield
        finally:
            self.file.write_text(before)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The machines that there are now."""
        return machines.survey(self.set)

    def machine(self, name: str) -> Machine:
        """Return one machine."""
        return next(machine for machine in self.machines if machine.name == name)

    @cached_property
    def bed(self) -> Bed:
        """SSH to the machines, with the key that pk3s made."""
        folder = self.path / ".bed"
        folder.mkdir(exist_ok=True)
        for name in ("key", "key.pub"):
            shutil.copy2(self.workspace / name.replace("key", "operator_key", 1), folder / name)
        return Bed(folder)

    def on(self, name: str, command: str) -> str:
        """Run a shell command on a machine."""
        return self.bed.ssh(self.machine(name), command)

    def kubectl(self, *words: str, data: str = "", kubeconfig: Path | None = None) -> str:
        """Run kubectl on this computer and return what it printed."""
        done = self.try_kubectl(*words, data=data, kubeconfig=kubeconfig)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def try_kubectl(
        self, *words: str, data: str = "", kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl on this computer; the result says how it ended."""
        found = kubeconfig or self.workspace / "kubeconfig"
        return subprocess.run(
            (self.tool, "--kubeconfig", found, "--request-timeout=20s", *words),
            env={**self.environment, "K3S_DATA_DIR": str(self.tool.parent / "data")},
            check=False,
            capture_output=True,
            text=True,
            input=data,
            timeout=120,
        )

    def get(self, *words: str) -> list[dict[str, Any]]:
        """Return the items that `kubectl get ... -o json` answers."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", *words, "-o", "json"))["items"]
        return items

    def fingerprint(self) -> Fingerprint:
        """Look at all that a test may change only if it says so."""
        found = self.machines
        with_k3s = [machine for machine in found if machine.state == "running"]
        units = {machine.name: lab_bed.started(self.bed, machine, unit_of(machine)) for machine in with_k3s}
        nodes = {node["metadata"]["name"]: node["metadata"]["uid"] for node in self.get("nodes")}
        return Fingerprint(units, nodes, tuple(machine.name for machine in found))

    def kill_program(self, machine: str) -> bool:
        """Kill the host program where it is, as the kernel does when memory is short; say whether it ran."""
        wanted = "\0".join(COMMAND).encode()
        group = group_name(DEFAULT_ROOT / self.set, machine)
        killed = False
        for pid in detect().processes(group):
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == wanted:
                    os.kill(pid, signal.SIGKILL)
                    killed = True
        return killed

    def close(self) -> None:
        """Destroy the machines, without pk3s."""
        machines.destroy(self.set)
        left = leftovers.leftovers(self.set)
        assert not left, left


@dataclass
class Terminal:
    """The person's side of a terminal with pk3s on it."""

    process: subprocess.Popen[bytes]
    descriptor: int
    shown: str = ""

    def until(self, text: str, seconds: float = 60) -> None:
        """Wait until this is shown."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert self._read(deadline), f"not shown: {text!r}; shown: {self.shown}"

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.descriptor, text.encode() + b"\n")

    def end(self, seconds: float = 120) -> int:
        """Wait for the end and return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self.process.wait(timeout=max(1.0, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))
        data = b""
        if ready:
            with suppress(OSError):  # the other side has closed it
                data = os.read(self.descriptor, 1 << 16)
        self.shown += data.decode(errors="replace")
        return bool(data)


@contextmanager
def in_front_of(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Start a program with a terminal in front; at the end of the block it is ended, if it has not."""
    mine, its = pty.openpty()
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    try:
        yield Terminal(process, mine)
    finally:
        process.kill()
        process.wait()
        os.close(mine)


class Sampler:
    """Looks at the argument vectors of this computer, and so of its machines, again and again while the block runs."""

    def __init__(self) -> None:
        self.vectors: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            for process in os.scandir("/proc"):
                if process.name.isdigit():
                    with suppress(OSError), open(f"/proc/{process.name}/cmdline", "rb") as file:  # noqa: PTH123
                        self.vectors.add(file.read())


def unit_of(machine: Machine) -> str:
    """Return the unit of a machine, by its name in the use case."""
    return lab_bed.unit_of("server" if machine.name.startswith("server") else "agent")


def own_ssh(config: Path) -> Path:
    """Return a folder with an `ssh` that reads this configuration: OpenSSH takes no notice of $HOME."""
    config.parent.mkdir(mode=0o700, exist_ok=True)
    whole = config.with_name("whole")
    known_hosts = config.with_name("known_hosts")
    whole.write_text(f'Include "{config}"\nMatch all\n  UserKnownHostsFile "{known_hosts}"\n')
    program = config.parent.with_name("bin") / "ssh"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(shutil.which("ssh") or "ssh")} -F "{whole}" "$@"\n')
    program.chmod(0o755)
    return program.parent


def make_site(path: Path, release: Release, tool: Path, *, agents: int = 2) -> Site:
    """Copy the use case `local` into a folder, as its README says; only the number of agents may differ."""
    path.mkdir(exist_ok=True)
    text = (REPOSITORY / "use-cases" / "local" / "cluster.yaml").read_text()
    assert text.count("count: 2") == 1
    (path / "cluster.yaml").write_text(text.replace("count: 2", f"count: {agents}"))
    return Site(path, release, tool)
