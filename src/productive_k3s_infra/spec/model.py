"""The cluster file as a validated value. PURE: nothing here reads a file or the environment; `spec.load` does."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION = "productive-k3s/v1alpha1"

Role = Literal["server", "agent"]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Model(BaseModel):
    # A misspelt key is a mistake, never a setting that silently does nothing.
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class LocalProvider(_Model):
    """Machines on this computer, made and destroyed by pk3s."""

    kind: Literal["local"]


class OnpremProvider(_Model):
    """Hosts that exist; every node has an address."""

    kind: Literal["onprem"]


Provider = Annotated[LocalProvider | OnpremProvider, Field(discriminator="kind")]


class Jump(_Model):
    """A host that is reached first, and through which the others are. Its host key is verified in the same way."""

    address: str
    user: str | None = None
    port: Port = 22
    key: str | None = None
    host_key: tuple[str, ...] = ()


class Ssh(_Model):
    """How to reach hosts. What a node leaves out is taken from `spec.ssh`, and then from these defaults.

    `address` is where SSH reaches a node if that is not where the other nodes reach it. `key` is the path of a private
    key; without one the SSH agent's and the usual keys are tried.
    """

    user: str | None = None
    port: Port | None = None
    key: str | None = None
    jump: Jump | None = None
    address: str | None = None


class Artifacts(_Model):
    """Where K3s' release comes from, and how it gets to the hosts.

    `source` is `release` (GitHub), the URL of a mirror shaped like it, or a directory of this computer:
    `<directory>/<version>/{k3s,sha256sum-amd64.txt,...}`. `delivery`: hosts `pull` from a URL, or this computer pushes;
    `auto` pulls from a URL and pushes from a directory.
    """

    source: str = "release"
    delivery: Literal["auto", "pull", "push"] = "auto"


class K3s(_Model):
    """What K3s shall be: version, datastore, names of the API, flags per role."""

    version: str
    artifacts: Artifacts = Artifacts()
    datastore: Literal["etcd", "sqlite"] = "etcd"
    tls_san: tuple[str, ...] = ()
    server: dict[str, Any] = Field(default_factory=dict)
    agent: dict[str, Any] = Field(default_factory=dict)


class Node(_Model):
    """One node. `address` is where the other nodes reach it (onprem: required; local: chosen by the provider)."""

    name: str
    role: Role
    address: str | None = None
    host_key: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    taints: tuple[str, ...] = ()
    ssh: Ssh = Ssh()


class ClusterSpec(_Model):
    """The whole wish, checked: `nodes` are single nodes in file order (`count: 2` of `agent` is agent-1, agent-2).

    `warnings` are remarks that stop nothing, for example a K3s newer than the flags known here.
    """

    name: str
    provider: Provider
    ssh: Ssh = Ssh()
    k3s: K3s = Field(alias="k3s")
    nodes: tuple[Node, ...]
    warnings: tuple[str, ...] = ()

    @property
    def servers(self) -> tuple[Node, ...]:
        """The servers, in file order; the first is the registration address."""
        return tuple(node for node in self.nodes if node.role == "server")
