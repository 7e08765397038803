"""PURE: the cluster file as a validated value: its keys, types, defaults and what each is for, once.

`ClusterDocument` is the file as it is written, and the JSON Schema is made of it; `ClusterSpec` is what `load` returns:
the same parts, with nodes one by one, flags by their long names, and the names of files absolute. Rules that look at
several values at once are in the modules named `*rules`; they work on the tree, so that one mistake does not hide
another. Nothing here reads a file or the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from productive_k3s.plan.batches import DEFAULT_BATCH
from productive_k3s_infra.cluster_file import registries, text_checks
from productive_k3s_infra.cluster_file.provider import (
    AllowedCidrs,
    AwsProvider,
    LocalProvider,
    Machine,
    MultipassProvider,
    OnpremProvider,
    Provider,
    State,
)
from productive_k3s_infra.cluster_file.values import (
    Address,
    Batch,
    Flags,
    HostKeys,
    Labels,
    Listed,
    Login,
    Port,
    ProxyUrl,
    Text,
    Truth,
    Written,
    checked,
    from_jump_text,
    left_out,
    number,
)

__all__ = ["AllowedCidrs", "AwsProvider", "LocalProvider", "Machine", "MultipassProvider", "OnpremProvider"]
__all__ += ["Provider", "State"]

API_VERSION = "productive-k3s/v1alpha1"
# A machine needs an address of the local provider's /24, and memory of this computer.
MOST_MACHINES = 200

Role = Literal["server", "agent"]
Registries = Annotated[
    dict[str, Any],
    BeforeValidator(registries.as_read),
    left_out(dict),
    AfterValidator(registries.hidden),
    WithJsonSchema(registries.SCHEMA),
]
Files = Annotated[dict[Annotated[str, checked(text_checks.file_name)], Text], left_out(dict)]


class Metadata(Written):
    """What the cluster is called."""

    name: Annotated[str, checked(text_checks.cluster_name)] = Field(description="Name of the cluster.")


class Jump(Written):
    """A host that is reached first, and through which the others are. Its host key is verified in the same way."""

    address: Address = Field(description="Where it is reached.")
    user: Login | None = Field(
        default=None, description="User to log in as. Default: ~/.ssh/config's, else the host's own `user`."
    )
    port: Port | None = Field(default=None, description="Port of its SSH server. Default: ~/.ssh/config's, else 22.")
    key: Text | None = Field(default=None, description="Private key for it. Default: the host's own `key`.")
    host_key: HostKeys = Field(default=(), description="Its public host key, one or several.")


class Ssh(Written):
    """How hosts are reached. What a node leaves out is taken from `spec.ssh`, and then from the defaults."""

    user: Login | None = Field(default=None, description="User to log in as. Default: ~/.ssh/config's, else root.")
    port: Port | None = Field(default=None, description="Port of the SSH server. Default: ~/.ssh/config's, else 22.")
    key: Text | None = Field(
        default=None,
        description="Private key; relative to the cluster file, ~ is your home. Default: the agent's, usual keys.",
    )
    jump: Annotated[Jump, from_jump_text] | None = Field(
        default=None, description="Host to go through: user@host:port, or a mapping."
    )


class ClusterSsh(Ssh):
    """How hosts are reached, unless a node says it."""

    via: Literal["public", "private"] | None = Field(
        default=None, description="aws: which address SSH and the kubeconfig use. Default: public."
    )


class NodeSsh(Ssh):
    """How one node is reached; what is left out is taken from spec.ssh."""

    address: Address | None = Field(default=None, description="Where SSH reaches it. Default: the node's own address.")


class Artifacts(Written):
    """Where K3s' release comes from, and how it gets to the hosts.

    `source` is `release` (GitHub), the URL of a mirror shaped like it, or a directory of this computer:
    `<directory>/<version>/{k3s,sha256sum-amd64.txt,...}`.
    """

    source: Text = Field(
        default="release", description="release (GitHub), a mirror's URL, or a directory shaped like both."
    )
    delivery: Literal["auto", "pull", "push"] = Field(
        default="auto",
        description="pull: hosts download. push: this computer uploads. auto: push from a directory, and to machines "
        "without a way out (local); else pull.",
    )


class Proxy(Written):
    """The proxy of K3s and of the hosts' downloads. A URL may hold a password."""

    http: ProxyUrl | None = Field(
        default=None, description="URL of the proxy for http://. With a password in it, write ${NAME}."
    )
    https: ProxyUrl | None = Field(default=None, description="URL of the proxy for https://.")
    no_proxy: Listed[Annotated[str, checked(text_checks.no_proxy)]] = Field(
        default=(),
        description="Reached directly: addresses, networks, domains. The nodes' and the cluster's own are added.",
    )


class K3s(Written):
    """How K3s is set up: version, datastore, names of the API, flags per role."""

    version: Annotated[str, checked(text_checks.version)] = Field(description="Exact version.")
    artifacts: Annotated[Artifacts, left_out(dict)] = Field(
        default=Artifacts(), description="Where the release comes from."
    )
    datastore: Literal["etcd", "sqlite"] = Field(
        default="etcd", description="etcd can grow to three servers; sqlite cannot."
    )
    registration_address: Address | None = Field(
        default=None, description="Where nodes join. Default: the first server's address."
    )
    api_address: Address | None = Field(
        default=None, description="What the kubeconfig names. Default: the first server's public address, else its own."
    )
    tls_san: Listed[Address] = Field(default=(), description="Further names and addresses in the API's certificate.")
    proxy: Annotated[Proxy, left_out(dict)] | None = Field(
        default=None, description="Proxy of K3s, its images and the hosts' own downloads. Default: none."
    )
    registries: Registries | None = Field(
        default=None, description="Mirrors and logins of image registries, in the words of K3s' registries.yaml."
    )
    files: Files = Field(
        default={},
        description="Files of this computer that flags name, as an audit policy: name on the hosts (below "
        "/etc/rancher/k3s/files) and the path on this computer. No secrets: plans show them.",
    )
    server: Flags = Field(default={}, description="K3s flags of servers, long names without dashes.")
    agent: Flags = Field(default={}, description="K3s flags of agents, long names without dashes.")

    @property
    def open_registries(self) -> dict[str, Any] | None:
        """`registries` without what is secret in them."""
        return None if self.registries is None else registries.apart(self.registries)[0]

    @property
    def registry_secrets(self) -> dict[str, dict[str, SecretStr]]:
        """What is secret in `registries`, by registry and key of its `auth`."""
        return registries.apart(self.registries or {})[1]


class NodeK3s(Written):
    """K3s flags and files of one node, over those of its role and of the cluster."""

    model_config = ConfigDict(extra="allow")

    files: Files = Field(default={}, description="Files for this node alone, as spec.k3s.files.")

    @property
    def flags(self) -> Mapping[str, Any]:
        """The flags, by their long names."""
        return self.model_extra or {}


class Node(Written):
    """One node, or with `count` several alike; a spec has them one by one, without a count."""

    name: str = Field(description="Name of the node; with count, name-1, name-2 and so on.")
    role: Role = Field(description="What K3s is there.")
    address: Address | None = Field(
        default=None,
        description="Where the other nodes reach it. onprem: address or name. aws: a free one of the subnet.",
    )
    public_address: Address | None = Field(
        default=None, description="onprem: where people reach it from outside; it is put into the certificate."
    )
    count: Annotated[int, Field(ge=1, le=MOST_MACHINES), BeforeValidator(number)] | None = Field(
        default=None, description="local, multipass, aws: how many machines of this kind."
    )
    machine: Annotated[Machine, left_out(dict)] = Field(
        default=Machine(), description="multipass, aws: size of its machine. Default: that of the provider."
    )
    host_key: HostKeys = Field(default=(), description="onprem: its public SSH host key, one or several.")
    labels: Labels = Field(default={}, description="Labels, set when the node joins.")
    taints: Listed[str] = Field(default=(), description="Taints, set when the node joins.")
    k3s: Annotated[NodeK3s, left_out(dict)] = Field(
        alias="k3s", default=NodeK3s(), description="K3s flags of this node, over those of its role; and its files."
    )
    ssh: Annotated[NodeSsh, left_out(dict)] = Field(default=NodeSsh(), description="How this node is reached.")


class Rollout(Written):
    """How a change that interrupts agents reaches them."""

    batch: Batch = Field(
        default=DEFAULT_BATCH,
        description="How many agents at a time, after a first one alone: a number, or a part of them. Default: 25%.",
    )
    drain: Truth = Field(
        default=False,
        description="Whether a node's pods are moved elsewhere first. Default: false, pods go on while K3s restarts.",
    )


class Spec(Written):
    """What the cluster should be."""

    provider: Provider = Field(description="Where the machines come from.")
    ssh: Annotated[ClusterSsh, left_out(dict)] = Field(
        default=ClusterSsh(), description="How hosts are reached, unless a node says it."
    )
    k3s: K3s = Field(alias="k3s", description="How K3s is set up.")
    hosts_file: Truth = Field(
        default=False, description="Whether the nodes' names are written into the hosts' /etc/hosts."
    )
    rollout: Annotated[Rollout, left_out(dict)] = Field(
        default=Rollout(), description="How a change that interrupts agents reaches them."
    )
    nodes: Annotated[tuple[Node, ...], Field(strict=False)] = Field(
        description="The nodes; the first server is the registration address."
    )


class ClusterDocument(Written):
    """A cluster file of productive-k3s."""

    api_version: Literal["productive-k3s/v1alpha1"] = Field(description="Version of this file's form.")
    kind: Literal["Cluster"] = Field(description="Always Cluster.")
    metadata: Metadata = Field(description="What the cluster is called.")
    spec: Spec = Field(description="What the cluster should be.")


class ClusterSpec(Spec):
    """The file, checked: `nodes` are single nodes in file order (`count: 2` of `agent` is agent-1, agent-2).

    `contents` are the files that `files` name, by their absolute names. `warnings` are remarks that stop nothing, for
    example a K3s newer than the flags known here.
    """

    name: str
    contents: dict[str, str] = Field(default={})
    warnings: tuple[str, ...] = ()

    @property
    def servers(self) -> tuple[Node, ...]:
        """The servers, in file order; the first is the registration address."""
        return tuple(node for node in self.nodes if node.role == "server")

    @property
    def delivery(self) -> Literal["auto", "pull", "push"]:
        """How the release gets to the hosts; `auto` is decided where machines have no way out: they cannot pull."""
        written = self.k3s.artifacts.delivery
        return written if written != "auto" or self.provider.capabilities.machines_have_way_out else "push"

    def flags_of(self, node: Node) -> dict[str, Any]:
        """Return the K3s flags of a node: its own come before those of its role."""
        common = self.k3s.server if node.role == "server" else self.k3s.agent
        return {**common, **node.k3s.flags}

    def files_of(self, node: Node) -> dict[str, str]:
        """Return the files of a node, name to content: its own come before the cluster's."""
        return {name: self.contents[path] for name, path in {**self.k3s.files, **node.k3s.files}.items()}
