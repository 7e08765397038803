"""PURE: the cluster's networks overlap neither each other nor a node's address, and are of the nodes' families."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from productive_k3s_infra.cluster_file.mistake import Found, Path, found, quoted
from productive_k3s_infra.cluster_file.provider import capabilities_of
from productive_k3s_infra.cluster_file.rules import nodes
from productive_k3s_infra.cluster_file.tree import Tree

_SERVER: Path = ("spec", "k3s", "server")
# K3s' defaults, by the family of the first node-ip (docs.k3s.io, cli/server; k3s-io/k3s, pkg/cli/server).
_DEFAULTS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
_DEFAULTS_V6 = {"cluster-cidr": "fd00:42::/56", "service-cidr": "fd00:43::/112"}
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class _Named:
    flag: str
    network: _Network
    path: Path | None

    def __str__(self) -> str:
        return f"{self.flag} {self.network}" + ("" if self.path else " (the default)")


def check_networks(tree: Tree) -> Iterator[Found]:
    """Yield bad networks, overlapping ones, nodes inside them and a DNS address outside the services'."""
    bad: list[Found] = []
    pods, services = (_networks(tree, flag, bad) for flag in ("cluster-cidr", "service-cidr"))
    yield from bad
    yield from _overlaps(pods, services)
    yield from _nodes_inside(tree, (*pods, *services))
    yield from _dns(tree, services)
    yield from _families(tree, pods, services)


def _networks(tree: Tree, flag: str, bad: list[Found]) -> tuple[_Named, ...]:
    if tree.get(*_SERVER, flag) is None:
        unknown = flag in tree.mapping(*_SERVER)
        defaults = _DEFAULTS_V6 if _first_family(tree) == 6 else _DEFAULTS
        return () if unknown else (_Named(flag, ipaddress.ip_network(defaults[flag]), None),)
    result = []
    for path, text in _parts(tree, flag):
        network = _network(text)
        if network is not None:
            result.append(_Named(flag, network, path))
            continue
        what = f"{flag} {quoted(text)} is not a network"
        bad.append(found(path, "file.network", what, expected=f"one like {_DEFAULTS[flag]}"))
    return tuple(result)


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _parts(tree: Tree, flag: str) -> Iterator[tuple[Path, str]]:
    for path, value in tree.items(*_SERVER, flag):
        for part in value.split(",") if isinstance(value, str) else ():
            yield path, part.strip()


def _overlaps(pods: tuple[_Named, ...], services: tuple[_Named, ...]) -> Iterator[Found]:
    for one in pods:
        for other in services:
            if one.network.version == other.network.version and one.network.overlaps(other.network):
                path = other.path or one.path
                if path is not None:
                    what = f"{one} and {other} overlap"
                    yield found(path, "file.networks-overlap", what, remedy="choose networks apart from each other")


def _nodes_inside(tree: Tree, networks: tuple[_Named, ...]) -> Iterator[Found]:
    for node, _ in nodes(tree):
        path = (*node, "address")
        address = _address(tree.text(*path))
        for named in networks:
            if address is not None and address in named.network:
                what = f"the node's address {address} is inside {named}"
                remedy = f"give the cluster another network with k3s.server.{named.flag}"
                yield found(path, "file.networks-overlap", what, remedy=remedy)


def _dns(tree: Tree, services: tuple[_Named, ...]) -> Iterator[Found]:
    for path, text in _parts(tree, "cluster-dns"):
        address = _address(text)
        if address is None:
            yield found(path, "file.network", f"cluster-dns {quoted(text)} is not an address", expected="an IP address")
        elif services and not any(address in named.network for named in services):
            what = f"cluster-dns {address} is outside {' and '.join(map(str, services))}"
            yield found(path, "file.cluster-dns", what, remedy="choose an address of service-cidr, usually the tenth")


def _first_family(tree: Tree) -> int | None:
    for path, node in nodes(tree):
        if node.get("role") == "server":
            return next((address.version for _, address in _node_addresses(tree, path)), None)
    return None


def _node_addresses(tree: Tree, path: Path) -> Iterator[tuple[Path, _Address]]:
    """Yield what the node's node-ip will be: as its flags say, else its address; a name says nothing."""
    role = tree.text(*path, "role") or ""
    for place in ((*path, "k3s", "node-ip"), ("spec", "k3s", role, "node-ip")):
        found = [(where, part) for where, value in tree.items(*place) for part in str(value).split(",")]
        if found:
            yield from ((where, address) for where, part in found if (address := _address(part.strip())) is not None)
            return
    address = _address(tree.text(*path, "address"))
    if address is not None:
        yield (*path, "address"), address


def _families(tree: Tree, pods: tuple[_Named, ...], services: tuple[_Named, ...]) -> Iterator[Found]:
    """K3s ends with "must share the same IP version" where pods and services are not of the same families.

    It does so too where a node-ip lacks one of them; it may have more (k3s-io/k3s, pkg/agent/run; docs.k3s.io,
    networking, dual-stack).
    """
    wanted = {named.network.version for named in pods}
    if not wanted or not services:
        return
    if {named.network.version for named in services} != wanted:
        path = next((named.path for named in (*services, *pods) if named.path is not None), None)
        if path is not None:
            what = f"{_listed(pods)} and {_listed(services)} are not of the same families"
            remedy = "give both an IPv4 network, both an IPv6 network, or both of each"
            yield found(path, "file.families", what, remedy=remedy)
        return
    for path, node in nodes(tree):
        addresses = list(_node_addresses(tree, path))
        families = {address.version for _, address in addresses}
        # A provider that chooses addresses itself gives machines one of IPv4.
        if not addresses and "address" not in node and tree.text("spec", "provider", "kind") is not None:
            families = {4} if _is_given(tree) else set()
        if families and not wanted <= families:
            place = addresses[0][0] if addresses else path
            what = f"the node has {_words(families)}, and the pods' network is {_words(wanted)}: K3s ends there"
            yield found(place, "file.families", what, remedy=_remedy(wanted))


def _is_given(tree: Tree) -> bool:
    can = capabilities_of(tree.text("spec", "provider", "kind"))
    return can is not None and can.address != "required"


def _remedy(wanted: Collection[int]) -> str:
    if len(wanted) > 1:
        return "give each node an address of both: k3s: {node-ip: [10.0.0.11, 'fd00::11']}"
    return "choose cluster-cidr and service-cidr of the nodes' family under k3s.server"


def _words(families: Collection[int]) -> str:
    return " and ".join(f"IPv{version}" for version in sorted(families))


def _listed(networks: tuple[_Named, ...]) -> str:
    return f"{networks[0].flag} {' and '.join(str(named.network) for named in networks)}"


def _address(text: str | None) -> _Address | None:
    try:
        return ipaddress.ip_address(text or "")
    except ValueError:
        return None
