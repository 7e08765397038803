"""PURE: the hosts of a cluster, and how to reach them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["server", "agent"]


@dataclass(frozen=True)
class Endpoint:
    """The SSH side of a host.

    `host_keys` are public keys ("ssh-ed25519 AAAA...") from the cluster file, a committed known_hosts or the provider;
    empty means that the key is not known yet. `key` is a path to the operator's private key, None for the agent's and
    default keys. `jump` is reached first, and its host key is verified in the same way.
    """

    address: str
    user: str = "root"
    port: int = 22
    key: str | None = None
    host_keys: tuple[str, ...] = ()
    jump: Endpoint | None = None

    def __str__(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"


@dataclass(frozen=True)
class Location:
    """Where a host is: for the other nodes, for SSH, and for people outside.

    `address` is where the other nodes reach it (the node-ip), `public_address` where people do if that is another one
    that no interface of the host has, as behind a cloud's translation of addresses.
    """

    address: str
    endpoint: Endpoint
    public_address: str = ""


@dataclass(frozen=True)
class Host:
    """One host. `name` is the step's and the node's name; for the addresses see `Location`.

    `assumed` marks a host whose machine does not exist yet: its address is a placeholder.
    """

    name: str
    role: Role
    address: str
    endpoint: Endpoint
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    assumed: bool = False
    public_address: str = ""


@dataclass(frozen=True)
class Inventory:
    """The hosts of one cluster in file order."""

    cluster: str
    hosts: tuple[Host, ...]

    @property
    def servers(self) -> tuple[Host, ...]:
        """The servers, in file order."""
        return tuple(host for host in self.hosts if host.role == "server")

    @property
    def agents(self) -> tuple[Host, ...]:
        """The agents, in file order."""
        return tuple(host for host in self.hosts if host.role == "agent")

    @property
    def founder(self) -> Host:
        """The server that makes the cluster where there is none yet: the first in file order. The others join it.

        Once the cluster lives it has no special standing: whoever asks something takes any server that answers.
        """
        return self.servers[0]
