"""PURE: the cluster file that says what a cluster is already, whoever made it.

Left out is what pk3s writes or derives by itself, if it is what would be derived. What no cluster file can say is in
`remarks`, never dropped in silence. No secret gets here: facts hold none.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from productive_k3s.contract.facts import Facts, NodeFact
from productive_k3s.contract.redaction import redact
from productive_k3s.facts import masking
from productive_k3s.k3s import flags, paths
from productive_k3s.k3s.config_file import ENVIRONMENT, UNIT, without_defaults
from productive_k3s.plan.compare import TOKENS
from productive_k3s.plan.desired import found_address, interface_of
from productive_k3s_infra.adopt.proxy_and_registries import around
from productive_k3s_infra.adopt.running_cluster import RunningCluster, RunningHost
from productive_k3s_infra.cluster_file import text_checks
from productive_k3s_infra.cluster_file.model import API_VERSION
from productive_k3s_infra.plan.mark import MARK, is_ours
from productive_k3s_infra.plan.model import ClusterRecord

# They have keys of their own in the file, are made by pk3s, or were decided when the node joined.
_SAID_OTHERWISE = (*TOKENS, *flags.JOIN_TIME, *flags.OF_THE_NODE, "tls-san", "data-dir")
# Set by Kubernetes or K3s itself, or by what else runs in the cluster.
_SYSTEM_TAINTS = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
_DEFAULT_PORT = 22
Document = dict[str, Any]


@dataclass(frozen=True)
class Reach:
    """How the hosts were reached, as the cluster file says it; an empty value is not written."""

    user: str
    port: int = _DEFAULT_PORT
    key: str = ""
    jump: str = ""


@dataclass(frozen=True)
class AdoptedFile:
    """The document, what belongs beside it, and remarks: what the file does not say, and why.

    `variables` are those that the document refers to: a secret never stands in it. Their values are never written.
    """

    document: Document
    record: ClusterRecord
    remarks: tuple[str, ...]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class _Said:
    """The flags that a role's part of the file says, and remarks about the others."""

    values: Document
    remarks: tuple[str, ...]
    variables: Mapping[str, str]


def adopt(name: str, cluster: RunningCluster, reach: Reach, source: str = "") -> AdoptedFile:
    """Return the cluster file for a cluster that runs. `source` is where its release is found, '' for GitHub."""
    server = cluster.server.facts.k3s
    of_server, of_agents = _flags_of_server(cluster.server), _flags_of_agents(cluster.agents)
    own = {host.node_name: _flags_of_one(host, of_agents.values) for host in cluster.agents}
    k3s: Document = {"version": server.binary_version}
    if source:
        k3s["artifacts"] = {"source": source}
    k3s["datastore"] = server.datastore
    names = without_defaults(server.config).get("tls-san", [])
    registration = _registration(cluster)
    if registration in names:
        k3s["registrationAddress"] = registration
    if names:
        k3s["tlsSan"] = list(names)
    surroundings = around(cluster)
    k3s |= surroundings.keys
    k3s |= {key: said.values for key, said in (("server", of_server), ("agent", of_agents)) if said.values}
    spec = {
        "provider": {"kind": "onprem"},
        "ssh": _ssh(reach),
        "k3s": k3s,
        # Only pk3s writes such a block.
        **({"hostsFile": True} if any(_has_names(host) for host in cluster.hosts) else {}),
        "nodes": [_node(host, cluster.node(host), reach, own.get(host.node_name)) for host in cluster.hosts],
    }
    document = {"apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": name}, "spec": spec}
    remarks = (
        *of_server.remarks,
        *of_agents.remarks,
        *(remark for said in own.values() for remark in said.remarks),
        *surroundings.remarks,
        *(remark for host in cluster.hosts for remark in _remarks_on_host(host, cluster)),
        *_remarks_on_cluster(name, cluster),
    )
    variables = {**surroundings.variables, **of_server.variables, **of_agents.variables}
    variables |= {name: value for said in own.values() for name, value in said.variables.items()}
    return AdoptedFile(document, ClusterRecord(server.ca_hash, server.binary_version), remarks, variables)


def _has_names(host: RunningHost) -> bool:
    return any(file.block is not None for file in host.facts.host.hosts_files)


def _ssh(reach: Reach) -> Document:
    said = {"user": reach.user, "port": reach.port, "key": reach.key, "jump": reach.jump}
    return {key: value for key, value in said.items() if value and (key, value) != ("port", _DEFAULT_PORT)}


def address_of(host: RunningHost, node: NodeFact | None) -> str:
    """Return where the other nodes reach it: as it was told, else as the API shows it, else as K3s finds it."""
    told = host.facts.k3s.config.get("node-ip") or [""]
    return (told[0].split(",")[0].strip() or (node.internal_ip if node else "")) or found_address(host.facts) or ""


def _node(host: RunningHost, node: NodeFact | None, reach: Reach, own: _Said | None) -> Document:
    k3s = host.facts.k3s
    address = address_of(host, node)
    entry: Document = {"name": host.node_name, "role": k3s.role, "address": address}
    ssh: Document = {}
    if host.endpoint.address != address:
        ssh["address"] = host.endpoint.address
    ssh |= {"user": host.endpoint.user} if host.endpoint.user != reach.user else {}
    ssh |= {"port": host.endpoint.port} if host.endpoint.port != reach.port else {}
    labels, taints = _labels(host, node), _taints(node)
    parts = {"labels": labels, "taints": taints, "k3s": own.values if own else {}, "ssh": ssh}
    return entry | {key: value for key, value in parts.items() if value}


def _joined_with(facts: Facts) -> tuple[str, ...]:
    return tuple(str(item).partition("=")[0] for item in facts.k3s.config.get("node-label", ()))


def _labels(host: RunningHost, node: NodeFact | None) -> dict[str, str]:
    """Return the labels that the node was given and still has, and those without a prefix: people set them."""
    if node is None:
        return {}
    ours = {*_joined_with(host.facts), *node.own_labels}
    found = {key: value for key, value in sorted(node.labels.items()) if key in ours or "/" not in key}
    # The mark is written by each apply, of whatever name the cluster has then.
    return {key: value for key, value in found.items() if key != MARK and text_checks.label(key, value) is None}


def _taints(node: NodeFact | None) -> list[str]:
    found = node.taints if node is not None else ()
    return [taint for taint in found if not taint.startswith(_SYSTEM_TAINTS) and text_checks.taint(taint) is None]


def _registration(cluster: RunningCluster) -> str:
    """Return where the agents found the cluster, '' if that is the server's own address, or they do not agree."""
    hosts = {urllib.parse.urlsplit(host.server_url).hostname or "" for host in cluster.agents} - {""}
    own = {address_of(cluster.server, cluster.node(cluster.server)), cluster.server.endpoint.address}
    return hosts.pop() if len(hosts) == 1 and not hosts & own else ""


# Flags


def _flags(host: RunningHost) -> dict[str, list[str]]:
    """Return the flags that belong into the file: neither said otherwise nor derived to the same."""
    found = without_defaults(host.facts.k3s.config)
    address = (found.get("node-ip") or [found_address(host.facts) or ""])[0]
    derived = {"node-ip": [address], "flannel-iface": [interface_of(address, host.facts) or ""]}
    if not _is_address(address):
        # Two families in one flag: the file's address is the first of them only.
        derived.pop("node-ip")
    return {
        key: value
        for key, value in found.items()
        if key not in _SAID_OTHERWISE and not masking.is_secret(key) and derived.get(key) != value
    }


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _flags_of_server(server: RunningHost) -> _Said:
    found = _flags(server)
    why = {key: _why_not("server", key, found) for key in found}
    left_out = tuple(_left_out(server, key, why[key]) for key in sorted(found) if why[key])
    return _said("server", {key: found[key] for key in sorted(found) if not why[key]}, left_out)


def _flags_of_agents(agents: Sequence[RunningHost]) -> _Said:
    """Return what all agents have in common, and the file can say; the rest is said of each."""
    found = [_flags(host) for host in agents]
    first = found[0] if found else {}
    common = {key: first[key] for key in sorted(first) if all(item.get(key) == first[key] for item in found)}
    return _said("agent", {key: value for key, value in common.items() if not _why_not("agent", key, common)}, ())


def _flags_of_one(host: RunningHost, common: Mapping[str, Any]) -> _Said:
    """Return what an agent has beside the flags that all agents have."""
    found = {key: value for key, value in sorted(_flags(host).items()) if key not in common}
    why = {key: _why_not("agent", key, found) for key in found}
    left_out = tuple(_left_out(host, key, why[key]) for key in found if why[key])
    return _said(host.node_name, {key: found[key] for key in found if not why[key]}, left_out)


def _said(place: str, found: Mapping[str, list[str]], remarks: Sequence[str]) -> _Said:
    """Return the flags with variables in place of what looks like a secret inside of a value.

    `place` is where the file has them: a role, or a node.
    """
    variables: dict[str, str] = {}
    values: Document = {}
    for key, items in found.items():
        shown = []
        for number, item in enumerate(items, 1):
            name = re.sub(r"[^A-Z0-9]", "_", f"{place}_{key}_{number}".upper())
            if redact(item) != item:
                variables[name] = item
            shown.append(f"${{{name}}}" if name in variables else item.replace("${", "$${"))
        values[key] = _value(key, shown)
    hidden = tuple(
        f"k3s of {place} holds what looks like a secret: "
        f"set {name} to what the host has, {redact(item)}, when you run pk3s"
        for name, item in variables.items()
    )
    return _Said(values, (*remarks, *hidden), variables)


def _why_not(role: str, key: str, found: Mapping[str, Any]) -> str:
    if key == "node-external-ip" and "advertise-address" not in found and role == "server":
        return "without advertise-address the API server advertises it, which the file refuses"
    return "; ".join(f"{failure.what}: {failure.remedy}" for failure in flags.check(role, [key]))


def _left_out(host: RunningHost, key: str, why: str) -> str:
    source = host.facts.k3s.config_sources.get(key, "")
    place = {UNIT: "on the unit", ENVIRONMENT: "in the unit's environment file"}.get(source, f"in {source}")
    said = f"{host.node_name}: {key} ({place}) is not in this file: {why}."
    if source.startswith(f"{paths.CONFIG}.d/"):
        return f"{said} It stays on the host."
    return (
        f"{said} The next apply would remove it, with a restart: to keep it, move it into a drop-in on that host "
        f"({paths.CONFIG}.d/50-host.yaml), which is left alone."
    )


def _value(key: str, items: Sequence[str]) -> Any:
    """Return the value in the type that the flag has: facts hold every value as a list of strings."""
    flag = flags.table().find(key)
    kind = flag.type if flag is not None else ""
    if kind == "string-list" or (flag is None and len(items) > 1):
        return list(items)
    last = items[-1] if items else ""
    if kind == "bool":
        return last == "true"
    return int(last) if kind == "int" and last.isdigit() else last


# Remarks


def _remarks_on_host(host: RunningHost, cluster: RunningCluster) -> Iterator[str]:
    name, k3s = host.node_name, host.facts.k3s
    for key in sorted(k3s.config):
        if masking.is_secret(key) and key not in TOKENS:
            yield f"{name}: {key} is a secret and stays on the host, where it is ({k3s.config_sources.get(key, '')})"
    if k3s.binary_version != cluster.server.facts.k3s.binary_version:
        yield (
            f"{name}: runs {k3s.binary_version}, and the server {cluster.server.facts.k3s.binary_version}: "
            "pk3s refuses to plan for it until it is upgraded in the way it was installed"
        )
    node = cluster.node(host)
    if node is None:
        yield f"{name}: the cluster has no Node of this name (now), so labels and taints are not in this file"
        return
    written = _labels(host, node)
    joined_with = {*_joined_with(host.facts), *node.own_labels} - {MARK}
    prefixed = sorted(key for key in joined_with & set(node.labels) - set(written))
    if prefixed:
        yield f"{name}: labels that no kubelet may set are not in this file: {', '.join(prefixed)}"


def _remarks_on_cluster(name: str, cluster: RunningCluster) -> Iterator[str]:
    registration = _registration(cluster)
    if registration and registration not in cluster.server.facts.k3s.config.get("tls-san", ()):
        yield (
            f"the agents joined at {registration}, which is not in the certificate: registrationAddress is not in this "
            "file, and new agents join at the server's own address"
        )
    for node in cluster.unnamed:
        # By its mark it is one that left this cluster's file: an apply with --prune would take it out.
        fate = "has this cluster's label, so that --prune removes it" if is_ours(node, name) else "is left alone"
        yield (
            f"{node.name} ({node.internal_ip}) is in the cluster, but was not named: it {fate}. To add it, "
            f"write this file again with --from-host {node.internal_ip} too, or a node of that name and address into it"
        )
    urls = {host.server_url for host in cluster.agents if host.server_url}
    if len({urllib.parse.urlsplit(url).netloc for url in urls}) > 1:
        yield f"the agents joined by different addresses: {', '.join(sorted(urls))}; those that are members keep theirs"
