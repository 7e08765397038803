"""The cluster file as a validated value. PURE: nothing here reads a file or the environment; `spec.load` does."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
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


class Machine(_Model):
    """The size of a machine that is made. A node's own words come before the provider's; None: not said.

    `memory` and `disk` are as written (`4G`, `512M`: 1024 based); `type` is an instance type.
    """

    cpus: int | None = None
    memory: str | None = None
    disk: str | None = None
    type: str | None = None

    def over(self, other: Machine) -> Machine:
        """Return this one, with what it does not say taken from the other."""
        said = self.model_dump(exclude_none=True)
        return other.model_copy(update=said)


class MultipassProvider(_Model):
    """Virtual machines of Multipass on this computer."""

    kind: Literal["multipass"]
    image: str = "24.04"
    machine: Machine = Machine()


class AllowedCidrs(_Model):
    """From where machines may be reached: networks such as 203.0.113.0/24."""

    ssh: tuple[str, ...]
    api: tuple[str, ...]
    http: tuple[str, ...] = ()


class State(_Model):
    """A backend of OpenTofu and its settings."""

    backend: str
    config: dict[str, str] = Field(default_factory=dict)


class AwsProvider(_Model):
    """Instances of Amazon EC2, made through OpenTofu."""

    kind: Literal["aws"]
    region: str
    allowed_cidrs: AllowedCidrs
    profile: str | None = None
    machine: Machine = Machine()
    architecture: Literal["amd64", "arm64"] = "amd64"
    vpc_id: str | None = None
    subnet_id: str | None = None
    elastic_ip: bool = False
    key_pair: str | None = None
    image_id: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    state: State | None = None


Provider = Annotated[LocalProvider | MultipassProvider | OnpremProvider | AwsProvider, Field(discriminator="kind")]


class Jump(_Model):
    """A host that is reached first, and through which the others are. Its host key is verified in the same way."""

    address: str
    user: str | None = None
    port: Port | None = None
    key: str | None = None
    host_key: tuple[str, ...] = ()


class Ssh(_Model):
    """How to reach hosts. What a node leaves out is taken from `spec.ssh`, and then from these defaults.

    `address` is where SSH reaches a node if that is not where the other nodes reach it; `via` says which of a machine's
    addresses is meant where the provider knows two. `key` is the path of a private
    key; without one the SSH agent's and the usual keys are tried.
    """

    user: str | None = None
    port: Port | None = None
    key: str | None = None
    jump: Jump | None = None
    address: str | None = None
    via: Literal["public", "private"] | None = None


class Artifacts(_Model):
    """Where K3s' release comes from, and how it gets to the hosts.

    `source` is `release` (GitHub), the URL of a mirror shaped like it, or a directory of this computer:
    `<directory>/<version>/{k3s,sha256sum-amd64.txt,...}`. `delivery`: hosts `pull` from a URL, or this computer pushes;
    `auto` pulls from a URL and pushes from a directory.
    """

    source: str = "release"
    delivery: Literal["auto", "pull", "push"] = "auto"


class Proxy(_Model):
    """The proxy of K3s and of the hosts' downloads. A URL may hold a password."""

    http: SecretStr | None = None
    https: SecretStr | None = None
    no_proxy: tuple[str, ...] = ()


class K3s(_Model):
    """What K3s shall be: version, datastore, names of the API, flags per role.

    Nodes join at `registration_address`, a kubeconfig names `api_address`; None: see the inventory. `registries` has no
    secret; those are in `registry_secrets`, by registry and key of its `auth`.
    """

    version: str
    artifacts: Artifacts = Artifacts()
    datastore: Literal["etcd", "sqlite"] = "etcd"
    registration_address: str | None = None
    api_address: str | None = None
    tls_san: tuple[str, ...] = ()
    proxy: Proxy | None = None
    registries: dict[str, Any] | None = None
    registry_secrets: dict[str, dict[str, SecretStr]] = Field(default_factory=dict)
    server: dict[str, Any] = Field(default_factory=dict)
    agent: dict[str, Any] = Field(default_factory=dict)


class Node(_Model):
    """One node. `address` is where the other nodes reach it; onprem needs it, other providers know it.

    `public_address` is where people reach it from outside; `machine` is what its machine shall be.
    """

    name: str
    role: Role
    address: str | None = None
    public_address: str | None = None
    machine: Machine = Machine()
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
    hosts_file: bool = False
    nodes: tuple[Node, ...]
    warnings: tuple[str, ...] = ()

    @property
    def servers(self) -> tuple[Node, ...]:
        """The servers, in file order; the first is the registration address."""
        return tuple(node for node in self.nodes if node.role == "server")
