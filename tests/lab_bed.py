"""Machines and a K3s for tests: shared by everything that needs real hosts.

Fixtures (registered in tests/conftest.py)
    k3s_release   session: the release directory, `--k3s-release DIR` or the lab K3s (built when it is not there yet)
    kubectl_tool  session: the release's kubectl, for this computer
    lab           function: a Bed whose machines are destroyed after the test
    module_lab    module: a Bed for machines that the tests of one module share

Bed
    create(set, *names or MachineRequests) -> machines     ssh(machine, command) -> what it printed, or AssertionError
    try_ssh(machine, command) -> CompletedProcess          put(machine, path, content, mode), put_all
    close() destroys every set and raises when anything is left

K3s started by hand, without the product: place, configure, start, found_cluster. What runs: started(bed, machine,
unit). `until(ask, seconds, what)` asks until the answer is true and fails with the last answer. Nothing here skips:
where machines cannot be made, tests fail.
"""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from productive_k3s.plan import render
from productive_k3s_infra.providers.local import kubelet, leftovers
from productive_k3s_infra.providers.local.machines import Machine, MachineRequest, create, destroy
from productive_k3s_infra.providers.local.store import SetFolder

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIG = "/etc/rancher/k3s/config.yaml"
SERVER_TOKEN = "/etc/rancher/k3s/server.token"
AGENT_TOKEN = "/etc/rancher/k3s/agent.token"
IMAGES = "/var/lib/rancher/k3s/agent/images"
KUBELET_DROP_INS, _, KUBELET_DROP_IN = kubelet.DROP_IN.rpartition("/")
"""Below /var/lib/rancher, what K3s hands to its kubelet; the lab's own file there."""
NOTHING_PACKAGED = ["traefik", "servicelb", "metrics-server", "local-storage"]
_T = TypeVar("_T")
Files = Mapping[str, tuple[str | bytes | Path, int]]
"""Path on the machine to content and mode; a Path as content is a file here."""
TOKENS: Files = {SERVER_TOKEN: ("server-password\n", 0o600), AGENT_TOKEN: ("agent-password\n", 0o600)}


@dataclass(frozen=True)
class Release:
    """A directory shaped like a release: <directory>/<version>/{k3s,sha256sum-amd64.txt,k3s-airgap-images-*.tar}."""

    directory: Path
    version: str

    @property
    def is_lab(self) -> bool:
        """Whether this is the lab K3s, and not K3s."""
        return "+lab" in self.version

    @property
    def binary(self) -> Path:
        return self.directory / self.version / "k3s"

    @property
    def images(self) -> Path:
        return self.directory / self.version / "k3s-airgap-images-amd64.tar"

    @property
    def image_names(self) -> tuple[str, ...]:
        """The release's own list of its images."""
        return tuple((self.directory / self.version / "k3s-images.txt").read_text().split())

    def sha256(self, name: str = "k3s") -> str:
        """Return the digest that the release's own list gives for a file."""
        for line in (self.directory / self.version / "sha256sum-amd64.txt").read_text().splitlines():
            digest, _, file = line.partition("  ")
            if file == name:
                return digest
        raise AssertionError(f"{name} is not in the list of {self.directory}")


@functools.cache
def find_release(directory: str | None) -> Release:
    """Return the release in a directory, or the lab K3s, which is built when it is not there yet."""
    if directory is None:
        command = (sys.executable, REPOSITORY / "lab" / "build")
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        directory = done.stdout.strip()
    versions = sorted(path.name for path in Path(directory).iterdir() if (path / "k3s").exists())
    assert len(versions) == 1, f"{directory} must hold one version, holds {versions}"
    return Release(Path(directory), versions[0])


@dataclass(frozen=True)
class Bed:
    """A root of its own for sets of machines, and the operator's key. The one host key accepted is the provider's."""

    folder: Path
    sets: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Where the sets' records and disks are."""
        return self.folder / "machines"

    @property
    def key(self) -> Path:
        """The private key that opens every machine as root; key.pub is beside it."""
        path = self.folder / "key"
        if not path.exists():
            subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path), check=True)
        return path

    def create(self, name: str, *wanted: str | MachineRequest, image: Path | None = None) -> tuple[Machine, ...]:
        """Make machines exist and answer on SSH; a name alone is a machine without wishes. `image`: not Debian 12."""
        public = self.key.with_suffix(".pub").read_text()
        if name not in self.sets:
            self.sets.append(name)
        requests = [MachineRequest(one) if isinstance(one, str) else one for one in wanted]
        machines = create(name, requests, public, root=self.root, image=image)
        for machine in machines:
            self.allow_cgroup_v1(machine)
        return machines

    def allow_cgroup_v1(self, machine: Machine) -> None:
        """Tell a machine's kubelet that cgroup v1 will do, as a person would whose kernel has no other.

        Kubelets of 1.35 and newer refuse it otherwise. Done at `create`; whoever takes K3s' data off a machine takes
        this along. Written from outside: the machine may be read-only, or let nobody in as root. With cgroup v2 on this
        computer nothing is refused, and nothing is written.
        """
        if cgroup_version() == 1:
            kubelet.allow_cgroup_v1(SetFolder(self.root, machine.set).machine(machine.name))

    def ssh(self, machine: Machine, command: str, *, user: str = "root", data: bytes = b"") -> str:
        """Run a shell command and return what it printed, without the last newline."""
        done = self.try_ssh(machine, command, user=user, data=data)
        assert done.returncode == 0, f"{machine.name}: {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def try_ssh(
        self, machine: Machine, command: str, *, user: str = "root", data: bytes = b"", seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command; the result says how it ended. After the deadline it is killed."""
        words = self.ssh_words(machine, user=user)
        done = subprocess.run((*words, command), check=False, capture_output=True, input=data, timeout=seconds)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    def ssh_words(self, machine: Machine, *, user: str = "root") -> tuple[str, ...]:
        """Return the ssh command line for a machine, without a remote command."""
        name = machine.address if machine.ssh_port == 22 else f"[{machine.address}]:{machine.ssh_port}"
        known = self.folder / f"known_hosts.{machine.set}.{machine.name}"
        known.write_text(f"{name} {machine.host_key}\n")
        options = {"StrictHostKeyChecking": "yes", "UserKnownHostsFile": known, "GlobalKnownHostsFile": "/dev/null"}
        options |= {"BatchMode": "yes", "ConnectTimeout": 10, "IdentitiesOnly": "yes", "LogLevel": "ERROR"}
        words = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
        to = ("-F", "none", "-i", str(self.key), "-p", str(machine.ssh_port), f"{user}@{machine.address}")
        return ("ssh", *words, *to)

    def put(self, machine: Machine, path: str, content: str | bytes | Path, mode: str = "600") -> None:
        """Write a file as a whole, its folders too."""
        self.put_all(machine, {path: (content, int(mode, 8))})

    def put_all(self, machine: Machine, files: Files, command: str = "true") -> None:
        """Write files in one go (a file that runs is replaced, not written into), then run a command."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as out:
            for path, (content, mode) in files.items():
                data = content.read_bytes() if isinstance(content, Path) else content
                data = data.encode() if isinstance(data, str) else data
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(data), mode
                out.addfile(entry, io.BytesIO(data))
        self.ssh(machine, f"tar -x --unlink-first -C / -f - && {command}", data=stream.getvalue())

    def close(self) -> None:
        """Destroy every set, also when one cannot be; what is left of one is an error."""
        errors: list[Exception] = []
        for name in self.sets:
            try:
                destroy(name, root=self.root)
            except Exception as error:  # noqa: BLE001 - the other sets must go too
                errors.append(error)
        if errors:
            raise ExceptionGroup("machines cannot be destroyed", errors)
        left = {name: found for name in self.sets if (found := leftovers.leftovers(name, root=self.root))}
        assert not left, left


def cgroup_version() -> int:
    """Return which control groups this computer has, and so its machines."""
    return 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1


@pytest.fixture(scope="session")
def k3s_release(request: pytest.FixtureRequest) -> Release:
    """The K3s that live tests use: the lab K3s unless `--k3s-release` names another."""
    return find_release(request.config.getoption("--k3s-release"))


@pytest.fixture(scope="session")
def kubectl_tool(tmp_path_factory: pytest.TempPathFactory, k3s_release: Release) -> Path:
    """The release's kubectl; what it unpacks stays beside it."""
    tool = tmp_path_factory.mktemp("kubectl") / "kubectl"
    tool.symlink_to(k3s_release.binary)
    return tool


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Bed]:
    """A bed for one test."""
    bed = Bed(tmp_path)
    yield bed
    bed.close()


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A bed whose machines the tests of one module share."""
    bed = Bed(tmp_path_factory.mktemp("lab"))
    yield bed
    bed.close()


def until(ask: Callable[[], _T], seconds: float, what: str) -> _T:
    """Ask until the answer is true and return it; at the deadline fail with it. An AssertionError counts as no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer: Any = ask()
        except AssertionError as error:
            answer, seen = None, str(error)
        else:
            seen = repr(answer)
        if answer:
            return answer  # type: ignore[no-any-return]  # what ask returned
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}; last seen: {seen}"
        time.sleep(0.3)


def unit_of(role: str) -> str:
    """Return the unit that the install script makes for a role."""
    return "k3s" if role == "server" else "k3s-agent"


def place(bed: Bed, release: Release, *machines: Machine, images: bool = True) -> None:
    """Put the binary, its links and the images on machines, as a person would who has no internet there.

    Without images a node gets Ready all the same, and sooner; no pod runs on it.
    """

    files: dict[str, tuple[Path, int]] = {"/usr/local/bin/k3s": (release.binary, 0o755)}
    if images and release.images.exists():
        files[f"{IMAGES}/{release.images.name}"] = (release.images, 0o644)
    link = "for name in kubectl crictl ctr; do ln -sf k3s /usr/local/bin/$name; done"
    in_parallel(lambda machine: bed.put_all(machine, files, link), machines)


def configure(bed: Bed, machine: Machine, role: str, config: Mapping[str, Any], more: Files | None = None) -> None:
    """Write config.yaml, the unit and more files; nothing is started."""
    unit = unit_of(role)
    files: dict[str, tuple[str | bytes | Path, int]] = {
        CONFIG: (yaml.safe_dump(dict(config)), 0o600),
        f"/etc/systemd/system/{unit}.service": (render.unit(role, unit), 0o644),
    }
    bed.put_all(machine, files | dict(more or {}), f"systemctl daemon-reload && systemctl enable --quiet {unit}")


def start(bed: Bed, machine: Machine, role: str, *, verb: str = "start", seconds: float = 60) -> None:
    """Start (or restart) and wait until systemd says active; fail with the end of the log."""
    unit = unit_of(role)
    # The wait is the machine's own: asking over SSH all the time would slow down what is waited for.
    pending = f'[ "$(systemctl show -p ActiveState -p Job --value {unit} | xargs)" != active ]'
    wait = f"timeout {seconds:.0f} sh -c 'while {pending}; do sleep 0.1; done'"
    done = bed.try_ssh(machine, f"systemctl {verb} --no-block {unit} && {wait}", seconds=seconds + 30)
    if done.returncode:
        said = log(bed, machine, unit)[-3000:]
        raise AssertionError(f"{unit} on {machine.name} was not active after {seconds} s: {done.stderr}\n{said}")


def state(bed: Bed, machine: Machine, unit: str) -> str:
    """Return the unit's state; a job that still waits to begin counts as activating."""
    text = bed.ssh(machine, f"systemctl show -p ActiveState -p Job --value {unit}")
    active, _, job = text.partition("\n")
    return "activating" if job and active != "activating" else active


def started(bed: Bed, machine: Machine, unit: str) -> tuple[str, str, str]:
    """Return what changes when a unit is started again: its run, its start, how often it was restarted."""
    names = "-p InvocationID -p ActiveEnterTimestampMonotonic -p NRestarts"
    lines = bed.ssh(machine, f"systemctl show {names} {unit}").splitlines()
    found = dict(line.split("=", 1) for line in lines)
    return found["InvocationID"], found["ActiveEnterTimestampMonotonic"], found["NRestarts"]


def log(bed: Bed, machine: Machine, unit: str) -> str:
    """Return what the unit has logged, all of it."""
    return bed.ssh(machine, f"journalctl --no-pager -o cat -u {unit}")


def kubectl(bed: Bed, server: Machine, words: str, *, data: bytes = b"") -> str:
    """Run `k3s kubectl` on a server."""
    return bed.ssh(server, f"/usr/local/bin/k3s kubectl {words}", data=data)


def get(bed: Bed, server: Machine, words: str) -> Any:
    """Return what `kubectl get ... -o json` answers."""
    return json.loads(kubectl(bed, server, f"get {words} -o json"))


def conditions(thing: Mapping[str, Any]) -> dict[str, str]:
    """Return an object's conditions: type to status."""
    return {one["type"]: one["status"] for one in thing.get("status", {}).get("conditions", [])}


def ready_nodes(bed: Bed, server: Machine) -> set[str]:
    """Return the names of the nodes that are Ready now."""
    items = get(bed, server, "nodes")["items"]
    return {node["metadata"]["name"] for node in items if conditions(node).get("Ready") == "True"}


def server_config(machine: Machine, **more: Any) -> dict[str, Any]:
    """Return a first server's config.yaml; further keys are given with underscores."""
    config = {
        "node-name": machine.name,
        "node-ip": machine.address,
        "flannel-iface": "host0",
        "cluster-init": True,
        "token-file": SERVER_TOKEN,
        "agent-token-file": AGENT_TOKEN,
        "disable": NOTHING_PACKAGED,
    }
    return config | _keys(more)


def agent_config(machine: Machine, first: Machine, **more: Any) -> dict[str, Any]:
    """Return an agent's config.yaml."""
    config = {
        "node-name": machine.name,
        "node-ip": machine.address,
        "flannel-iface": "host0",
        "server": f"https://{first.address}:6443",
        "token-file": AGENT_TOKEN,
    }
    return config | _keys(more)


def _keys(more: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in more.items()}


def found_server(bed: Bed, machine: Machine, **more: Any) -> str:
    """Start a first server by hand on a machine that has the binary; return the agent token in its secure form."""
    configure(bed, machine, "server", server_config(machine, **more), TOKENS)
    start(bed, machine, "server")
    return bed.ssh(machine, "cat /var/lib/rancher/k3s/server/agent-token")


def join_agents(bed: Bed, server: Machine, token: str, *agents: Machine, **more: Any) -> None:
    """Start agents by hand on machines that have the binary, all at once, and wait until they are active."""

    def one(machine: Machine) -> None:
        files = {AGENT_TOKEN: (token + "\n", 0o600)}
        configure(bed, machine, "agent", agent_config(machine, server, **more), files)
        start(bed, machine, "agent")

    in_parallel(one, agents)


def found_cluster(bed: Bed, release: Release, server: Machine, *agents: Machine, **more: Any) -> None:
    """Make a cluster by hand: a server and any number of agents, all Ready; `more` is for the server's config."""
    place(bed, release, server, *agents)
    token = found_server(bed, server, **more)
    join_agents(bed, server, token, *agents)
    names = {machine.name for machine in (server, *agents)}
    until(lambda: ready_nodes(bed, server) == names, 60, f"nodes {sorted(names)} Ready")


def in_parallel(work: Callable[[Machine], None], machines: Sequence[Machine]) -> None:
    """Do the same on several machines at once; the first error is raised when all have ended."""
    if machines:
        with ThreadPoolExecutor(len(machines)) as pool:
            tuple(pool.map(work, machines))
