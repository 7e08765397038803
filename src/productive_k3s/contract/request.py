"""What is asked of one host. Three drivers write it: flags by hand, pk3s, the Ansible role; the defaults live here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Mapping, Optional, Tuple

from productive_k3s.contract.secret import Secret

SCHEMA = 1

Mode = Literal["single-node", "server", "agent"]
Datastore = Literal["etcd", "sqlite"]


@dataclass(frozen=True)
class Artifact:
    """A file of a release. `url` is where this host pulls it from; without one it was staged here before.

    `name` is the asset's file name (`k3s`, `k3s-airgap-images-amd64.tar`); `sha256` is hex, from the release's
    checksum file.
    """

    name: str
    sha256: str
    url: Optional[str] = None


@dataclass(frozen=True)
class Join:
    """How an agent (or a further server) finds its cluster.

    `token` is the secure form (`K10<CA hash>::node:<password>`), filled in just before sending; None while planning,
    and for a host that is a member already.
    """

    server: str
    token: Optional[Secret] = None
    agent_token: Optional[Secret] = None


@dataclass(frozen=True)
class HostEntry:
    """A line of /etc/hosts: an address and the names that lead to it, the first being the canonical one."""

    address: str
    names: Tuple[str, ...]


@dataclass(frozen=True)
class Secrets:
    """What of a request is never shown: no plan, journal or inventory holds it, it is filled in just before sending.

    `environment` has variables whose values carry credentials (a proxy's URL). `registries` has, by registry, what
    is added to its `auth` in registries.yaml.
    """

    environment: Mapping[str, Secret] = field(default_factory=dict)
    registries: Mapping[str, Mapping[str, Secret]] = field(default_factory=dict)


@dataclass(frozen=True)
class Deadlines:
    """Upper bounds in seconds for the waits of one run."""

    download: float = 600.0
    start: float = 300.0
    ready: float = 180.0


@dataclass(frozen=True)
class Watch:
    """What a restart is watched for, after the node is Ready again and before other nodes get the same change.

    For so many `seconds` K3s must not be started again; pods that were Ready on the node before must be Ready again.
    """

    seconds: float = 0.0


@dataclass(frozen=True)
class Request:
    """The wish for one host, complete: rendering it needs nothing else but the host's facts.

    `config` holds K3s flags as the user gave them (long names without dashes); what this program always writes
    (node-name, node-ip, flannel-iface, token files, cluster-init, server) is added by `render`.
    `expected_ca` is the cluster's CA hash (64 hex) where one is recorded: another CA is refused.
    `agreed` lists the ids of the changes that may be made; None agrees to all of them.
    `others_are_members` says that a server or agent of this cluster lives elsewhere: then no cluster is founded here.
    `hosts_file` has the names that this host shall know; () takes away what an earlier wish left in /etc/hosts.
    `files` are those that flags point to (an audit policy, a CA of OIDC), by name: flags call them
    /etc/rancher/k3s/files/NAME. A template of containerd's (config-v3.toml.tmpl) goes where K3s looks for it.
    `watch` says what a restart is watched for; None: the run ends when the node is Ready.
    """

    mode: Mode
    version: str
    binary: Optional[Artifact] = None
    images: Tuple[Artifact, ...] = ()
    node_name: Optional[str] = None
    node_ip: Optional[str] = None
    flannel_iface: Optional[str] = None
    datastore: Datastore = "etcd"
    tls_san: Tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    registries: Optional[Mapping[str, Any]] = None
    secrets: Secrets = Secrets()
    hosts_file: Tuple[HostEntry, ...] = ()
    join: Optional[Join] = None
    expected_ca: Optional[str] = None
    new_cluster: bool = False
    others_are_members: bool = False
    agreed: Optional[Tuple[str, ...]] = None
    deadlines: Deadlines = Deadlines()
    watch: Optional[Watch] = None
    schema: int = SCHEMA

    @property
    def unit(self) -> str:
        """The systemd unit, named as the install script names it (k3s-io/k3s, install.sh)."""
        return "k3s-agent" if self.mode == "agent" else "k3s"

    @property
    def role(self) -> Literal["server", "agent"]:
        """The sub-command of K3s."""
        return "agent" if self.mode == "agent" else "server"
