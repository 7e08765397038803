"""What is asked of the machines of a set, and what is known of them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from productive_k3s_infra.errors import BadInput

MachineState = Literal["running", "stopped", "broken"]

# RFC 1123, section 2.1: a host name's label. 40, because file names, units and cgroups are made of two of them.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?")

# Of the private ranges (RFC 1918) this part is far from K3s' own 10.42.0.0/16 and 10.43.0.0/16.
NETWORKS = tuple(IPv4Network(f"10.213.{number}.0/24") for number in range(256))
GATEWAY_OCTET = 1
MACHINE_OCTETS = range(11, 251)
SMALLEST_DISK_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class MachineRequest:
    """One machine that is wanted.

    `disk_bytes` gives all it writes a file system of its own of that size; `read_only` mounts everything read-only once
    it has started; `extra_user` may log in with the same key as root, and `sudoers` is what sudo allows that user, as
    it stands after the user's name in sudoers(5), for example `ALL=(root) NOPASSWD: ALL`.
    """

    name: str
    ssh_port: int = 22
    disk_bytes: int | None = None
    read_only: bool = False
    extra_user: str | None = None
    sudoers: str | None = None


@dataclass(frozen=True)
class Machine:
    """One machine of a set, as it was found. `host_key` is what its SSH server shows, known before its first start."""

    set: str
    name: str
    address: str
    bridge: str
    host_key: str
    state: MachineState
    ssh_user: str = "root"
    ssh_port: int = 22


@dataclass(frozen=True)
class MachineRecord:
    """What is remembered of a machine: what was asked, and what was chosen for it."""

    request: MachineRequest
    octet: int
    machine_id: str
    image: str


@dataclass(frozen=True)
class SetRecord:
    """What is remembered of a set. `number` names its network and its bridge."""

    name: str
    number: int
    machines: tuple[MachineRecord, ...] = ()

    @property
    def bridge(self) -> str:
        return f"pk3s-{self.number}"

    @property
    def network(self) -> IPv4Network:
        return NETWORKS[self.number]

    @property
    def gateway(self) -> IPv4Address:
        return self.network[GATEWAY_OCTET]

    def address(self, machine: MachineRecord) -> IPv4Address:
        return self.network[machine.octet]

    def container(self, machine: MachineRecord) -> str:
        """The name systemd-nspawn knows it by; `vb-` and it make an interface name of 15 characters at most."""
        return f"{self.bridge}-{machine.octet}"

    def find(self, name: str) -> MachineRecord | None:
        return next((machine for machine in self.machines if machine.request.name == name), None)


def require_set_name(name: str) -> None:
    """Raise BadInput unless machines can be grouped under this name."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot name a set of machines", remedy="use 1 to 40 lower-case letters, digits and inner hyphens"
        )


def require_requests(requests: tuple[MachineRequest, ...]) -> None:
    """Raise BadInput for the first request that no machine can be made from."""
    names = [request.name for request in requests]
    for request in requests:
        where = f"machine {request.name}"
        if not _NAME.fullmatch(request.name):
            raise BadInput(f"{request.name!r} cannot be a host name", remedy="use lower-case letters, digits, hyphens")
        if names.count(request.name) > 1:
            raise BadInput("the name is used twice", where=where, remedy="give each machine its own name")
        if not 0 < request.ssh_port < 65536:
            raise BadInput(f"{request.ssh_port} is not a port", where=where)
        if request.disk_bytes is not None and request.disk_bytes < SMALLEST_DISK_BYTES:
            raise BadInput(f"a disk of {request.disk_bytes} bytes is too small", where=where, remedy="16 MiB or more")
        _require_user(request, where)


def _require_user(request: MachineRequest, where: str) -> None:
    if request.extra_user is not None and (request.extra_user == "root" or not _USER.fullmatch(request.extra_user)):
        raise BadInput(f"{request.extra_user!r} cannot be an extra user", where=where)
    if request.sudoers is not None and (request.extra_user is None or "\n" in request.sudoers):
        raise BadInput("sudoers is one line for an extra user", where=where)


def require_public_key(key: str) -> None:
    """Raise BadInput unless it is one line as in authorized_keys (sshd(8)), without options."""
    if not _KEY.fullmatch(key.strip()):
        raise BadInput("this is not an SSH public key", remedy="give the text of a .pub file, one line")


def require_root_folder(root: Path) -> None:
    """Raise BadInput for a path that the options of a mount, and tables of mounts, cannot hold as it is."""
    if not root.is_absolute() or not re.fullmatch(r"[A-Za-z0-9_./-]+", str(root)):
        raise BadInput("machines cannot be kept in this folder", where=str(root), remedy="give a plain absolute path")


def choose_number(taken: tuple[IPv4Network, ...], used: frozenset[int]) -> int:
    """Choose the first network that touches none that is taken. Raises BadInput when there is none left."""
    for number, network in enumerate(NETWORKS):
        if number not in used and not any(network.overlaps(other) for other in taken):
            return number
    raise BadInput(
        "no free network is left for a set of machines",
        evidence=f"all of {NETWORKS[0]} to {NETWORKS[-1]} is routed or in use",
        remedy="destroy a set that is no longer needed",
    )


def choose_octet(record: SetRecord) -> int:
    """Choose the address of the next machine of a set. Raises BadInput when its network is full."""
    used = {machine.octet for machine in record.machines}
    for octet in MACHINE_OCTETS:
        if octet not in used:
            return octet
    raise BadInput(f"the set {record.name} is full", evidence=f"{len(used)} machines", remedy="use another set")
