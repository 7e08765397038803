"""PURE: are these hosts one cluster that can be taken over? Each objection is one error with its remedy."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from productive_k3s.contract.facts import Facts, NodeFact
from productive_k3s.k3s import paths
from productive_k3s.k3s.config_file import without_defaults
from productive_k3s.plan.effective import is_member
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.model import Endpoint

# Of older ones no Node says whether its etcd member votes (EtcdIsVoter, k3s-io/k3s 8033), which a start waits for.
OLDEST_MINOR = (1, 29)
_MINOR = re.compile(r"v(\d+)\.(\d+)\.")


@dataclass(frozen=True)
class RunningHost:
    """A host that was named, as the person wrote it, how it was reached, and what it said."""

    given: str
    endpoint: Endpoint
    facts: Facts

    @property
    def node_name(self) -> str:
        """The name of its Node."""
        return self.facts.k3s.node_name

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"{self.given} ({self.node_name})" if self.node_name else self.given

    @property
    def server_url(self) -> str:
        """Where an agent found its server, '' if it does not say."""
        return next(iter(self.facts.k3s.config.get("server", ())), "")


@dataclass(frozen=True)
class RunningCluster:
    """One server and its agents, in the order in which they were named, and the Nodes that nobody named."""

    server: RunningHost
    agents: tuple[RunningHost, ...]
    unnamed: tuple[NodeFact, ...]

    @property
    def hosts(self) -> tuple[RunningHost, ...]:
        """All of them, the server first."""
        return (self.server, *self.agents)

    def node(self, host: RunningHost) -> NodeFact | None:
        """Return the host's Node as the server sees it."""
        return next((node for node in _nodes(self.server) if node.name == host.node_name), None)


def require_one_cluster(found: Sequence[RunningHost]) -> RunningCluster:
    """Return the cluster that these hosts are; raises BadInput with the first thing that speaks against it."""
    for rule in _OF_A_HOST:
        for host in found:
            rule(host)
    _require_one_ca(found)
    _require_different(found)
    server = _require_one_server(found)
    _require_running(server)
    named = {host.node_name for host in found}
    unnamed = tuple(node for node in _nodes(server) if node.name not in named)
    _require_no_other_server(server, unnamed)
    return RunningCluster(server, tuple(host for host in found if host is not server), unnamed)


def _nodes(server: RunningHost) -> tuple[NodeFact, ...]:
    return server.facts.cluster.nodes if server.facts.cluster is not None else ()


def _require_k3s(host: RunningHost) -> None:
    k3s = host.facts.k3s
    if k3s.role is not None and is_member(host.facts):
        return
    other = ", ".join(host.facts.host.other_kubernetes)
    if k3s.role is not None:
        evidence = f"unit {k3s.units[0].name} is {k3s.units[0].active_state}, and it never joined"
    else:
        evidence = other or "neither k3s.service nor k3s-agent.service"
    raise BadInput(
        "this host has no K3s that belongs to a cluster",
        where=host.given,
        evidence=evidence,
        remedy="name hosts of a running cluster, whose service is k3s or k3s-agent; for empty hosts: pk3s init "
        "--provider onprem --server ADDRESS",
        code="init.no-k3s",
    )


def _require_known_version(host: RunningHost) -> None:
    version = host.facts.k3s.binary_version
    match = _MINOR.match(version)
    if match and (int(match.group(1)), int(match.group(2))) >= OLDEST_MINOR:
        return
    oldest = f"v{OLDEST_MINOR[0]}.{OLDEST_MINOR[1]}"
    raise BadInput(
        f"this K3s is older than {oldest}, the oldest that is supported" if match else "the version of K3s is unknown",
        where=host.where,
        evidence=f"{paths.BINARY} is {version or 'of an unknown version'}",
        remedy=f"upgrade the cluster to {oldest} first, one minor version at a time, in the way it was installed",
        code="init.old-version",
    )


def _require_readable(host: RunningHost) -> None:
    k3s = host.facts.k3s
    if k3s.config_error:
        raise BadInput(
            "K3s' configuration cannot be read",
            where=host.where,
            evidence=k3s.config_error,
            remedy="correct it on the host: K3s could not start again either",
            code="init.config",
        )
    elsewhere = without_defaults(k3s.config).get("data-dir") or k3s.config.get("config")
    if elsewhere:
        raise BadInput(
            "K3s keeps its data or its configuration in another place, which is not supported",
            where=host.where,
            evidence=f"{', '.join(elsewhere)} (set by {_source(k3s.config_sources, ('data-dir', 'config'))})",
            remedy=f"only {paths.DATA} and {paths.CONFIG} are: manage this cluster with the tool that created it",
            code="init.not-supported",
        )
    if k3s.datastore == "external":
        raise BadInput(
            "the cluster's datastore is an external one, which is not supported",
            where=host.where,
            evidence="datastore-endpoint is set",
            remedy="a cluster file says etcd or sqlite: manage this cluster with the tool that created it",
            code="init.not-supported",
        )


def _source(sources: object, keys: tuple[str, ...]) -> str:
    found = sources if isinstance(sources, dict) else {}
    return ", ".join(str(found[key]) for key in keys if key in found) or "the host"


_OF_A_HOST: tuple[Callable[[RunningHost], None], ...] = (_require_k3s, _require_known_version, _require_readable)


def _require_different(found: Sequence[RunningHost]) -> None:
    seen: dict[str, RunningHost] = {}
    for host in found:
        first = seen.setdefault(host.node_name, host)
        if first is not host:
            raise BadInput(
                "two addresses lead to one node",
                where=host.given,
                evidence=f"{first.given} and {host.given} both are {host.node_name}",
                remedy="name each host once",
                code="init.same-host",
            )


def _require_one_ca(found: Sequence[RunningHost]) -> None:
    first = found[0]
    for host in found[1:]:
        if host.facts.k3s.ca_hash != first.facts.k3s.ca_hash:
            raise BadInput(
                "these hosts belong to two different clusters",
                where=f"{first.where} and {host.where}",
                evidence=f"their CAs are {first.facts.k3s.ca_hash[:12]}... and {host.facts.k3s.ca_hash[:12]}...",
                remedy="write one cluster file for each cluster, in a folder of its own",
                code="init.two-clusters",
            )


def _require_one_server(found: Sequence[RunningHost]) -> RunningHost:
    servers = [host for host in found if host.facts.k3s.role == "server"]
    if not servers:
        urls = ", ".join(sorted({host.server_url for host in found if host.server_url}))
        address = next((urllib.parse.urlsplit(host.server_url).hostname for host in found if host.server_url), None)
        raise BadInput(
            "none of these hosts is a server",
            where=", ".join(host.where for host in found),
            evidence=f"they joined {urls}" if urls else "all of them run k3s agent",
            remedy=f"name the server too: --from-host {address or 'ADDRESS'}",
            code="init.no-server",
        )
    if len(servers) > 1:
        raise _several_servers(", ".join(host.where for host in servers))
    return servers[0]


def _require_running(server: RunningHost) -> None:
    cluster = server.facts.cluster
    if cluster is None or not cluster.reachable:
        units = server.facts.k3s.units
        raise BadInput(
            "the server does not run, so its nodes and their labels cannot be read",
            where=server.where,
            evidence=(cluster.evidence if cluster is not None else "")
            or f"unit {units[0].name} {units[0].active_state}",
            remedy="start it first (systemctl start k3s), and see journalctl -u k3s if it does not",
            code="init.not-running",
        )


def _require_no_other_server(server: RunningHost, unnamed: Sequence[NodeFact]) -> None:
    others = [f"{node.name} ({node.internal_ip})" for node in unnamed if "control-plane" in node.roles]
    if others:
        raise _several_servers(", ".join((server.where, *others)))


def _several_servers(evidence: str) -> BadInput:
    return BadInput(
        "the cluster has more than one server, which is not supported yet",
        where=evidence.partition(",")[0],
        evidence=f"servers: {evidence}",
        remedy="a cluster file declares one server: manage this cluster with the tool that created it",
        code="init.several-servers",
    )
