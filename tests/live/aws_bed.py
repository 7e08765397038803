"""use-cases/aws-single-node for machines of a test: moto plays EC2, a lab machine stands behind each private address.

AwsSite     a folder with the use case's cluster file, an environment that leads to moto, and the machines
    boot        what cloud-init does with an instance's user data: its host key is put onto the machine
    departed    names of instances that went, and the nodes that the cluster had at that moment
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from lab_bed import REPOSITORY, Bed, Machine, Release
from moto_bed import REGION, Cloud, cloud
from pk3s_bed import Done, Site
from tofu_bed import TofuBed

USE_CASE = REPOSITORY / "use-cases" / "aws-single-node"
_KEY = "/etc/ssh/ssh_host_ed25519_key"


@dataclass(frozen=True)
class AwsSite(Site):
    """A folder of a person who has an AWS account."""

    exports: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        self.environment.update(self.exports)

    @property
    def tofu_folder(self) -> Path:
        return self.workspace / "tofu"


@dataclass
class World:
    """The account and the machines behind its addresses."""

    cloud: Cloud
    bed: Bed
    machines: tuple[Machine, ...]
    site: AwsSite
    departed: list[tuple[str, list[str]]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    interruption: Callable[[], None] | None = None

    @cached_property
    def _by_address(self) -> Mapping[str, Machine]:
        return {machine.address: machine for machine in self.machines}

    def boot(self, instance: Any) -> None:
        """Do what cloud-init does at the first boot, before anybody can know the address."""
        try:
            self._seed(self._by_address[instance.private_ip], self.cloud.seed(instance.id))
            interruption, self.interruption = self.interruption, None
            if interruption is not None:
                interruption()
        except BaseException as error:  # it runs in the server: what goes wrong is the test's to see
            self.failures.append(error)
            raise

    def _seed(self, machine: Machine, private: str) -> None:
        public = public_half(private)
        now = self.known(machine)
        reload = f"chmod 600 {_KEY} && systemctl reload ssh"
        self.bed.put_all(now, {_KEY: (private, 0o600), f"{_KEY}.pub": (f"{public}\n", 0o644)}, reload)

    def cut_at_first_instance(self, *words: str) -> Done:
        """Run pk3s, and kill it and its OpenTofu when AWS has made an instance and has not said so yet."""
        running = self.site.begin(*words)

        def kill() -> None:
            running.process.kill()
            self._kill_its_children()

        self.interruption = kill
        done = running.end()
        self._kill_its_children()  # a provider may have been started since
        return done

    def _kill_its_children(self) -> None:
        """Kill OpenTofu in the site's folder, and its providers, which outlive it where they wait for AWS."""
        mine = str(self.site.tofu_folder).encode()
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = process.read_bytes().split(b"\0")
                if b"-chdir=" + mine in words or words[0].startswith(mine + b"/"):
                    os.kill(int(process.parent.name), signal.SIGKILL)

    def known(self, machine: Machine) -> Machine:
        """Return the machine with the host key that it shows now."""
        done = subprocess.run(
            ("ssh-keyscan", "-T", "10", "-t", "ed25519", machine.address), check=True, capture_output=True, text=True
        )
        return replace(machine, host_key=" ".join(done.stdout.split()[1:3]))

    def left(self, instance: Any) -> None:
        """Write down which nodes there were when an instance went."""
        name = next(tag["value"] for tag in instance.get_tags() if tag["key"] == "Name")
        nodes = self.site.try_kubectl("get", "nodes", "-o", "json")
        found = json.loads(nodes.stdout)["items"] if nodes.returncode == 0 else []
        self.departed.append((name, [node["metadata"]["name"] for node in found]))


def public_half(private: str) -> str:
    """Return the public key of a private one."""
    key = load_ssh_private_key(private.encode(), None)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def cluster_file(bed: Bed, machines: tuple[Machine, ...], vpc: str, subnet: str) -> str:
    """Return the use case's file with what the machines of a test need."""
    text = (USE_CASE / "cluster.yaml").read_text()
    head, _, _ = text.partition("  nodes:\n")
    for old, new in (
        ("    # vpcId: vpc-...", f"    vpcId: {vpc}\n    #"),
        ("    # subnetId: subnet-...", f"    subnetId: {subnet}"),
        ("  # ssh:\n", "  ssh:\n    user: root\n"),
        ("  #   key: ~/.ssh/id_ed25519 ", f"    key: {bed.key} "),
        ("  #   via: private ", "    via: private "),
        (
            "  k3s:\n",
            "  k3s:\n    server: {disable: [traefik, servicelb, metrics-server, local-storage]}\n",
        ),
    ):
        assert head.count(old) == 1, old
        head = head.replace(old, new)
    nodes = "".join(node_line(machine) for machine in machines)
    return f"{head}  nodes:\n{nodes}"


def node_line(machine: Machine) -> str:
    """Return a machine's entry of `nodes`."""
    role = machine.name.partition("-")[0]
    return f"    - {{name: {machine.name}, role: {role}, address: {machine.address}}}\n"


@contextmanager
def world(folder: Path, bed: Bed, release: Release, tool: Path, tofu: TofuBed, *names: str) -> Iterator[World]:
    """Give machines, an account, and a cluster file for both."""
    machines = bed.create("aws", *names)
    network = IPv4Network(f"{machines[0].address}/24", strict=False)
    folder.mkdir()
    with cloud() as made:
        made.add_image("2026-01-01")
        vpc, subnet = made.network(str(network))
        exports = {
            **tofu.environment(folder / ".tofu-home"),
            **made.environment,
            "AWS_REGION": REGION,
            "MY_NETWORK": "203.0.113.7/32",
        }
        keep = {name: value for name, value in exports.items() if name not in {"HOME", "PATH"}}
        site = AwsSite(folder, release, tool, "aws", tuple(keep.items()))
        site.file.write_text(cluster_file(bed, machines, vpc, subnet))
        found = World(made, bed, machines, site)
        made.watch(on_launch=found.boot, on_end=found.left)
        try:
            yield found
        finally:
            found._kill_its_children()
        assert not found.failures, found.failures
