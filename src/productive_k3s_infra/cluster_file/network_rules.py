"""PURE: the cluster's networks must not overlap each other, nor hold a node's address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from productive_k3s_infra.cluster_file.mistake import Found, Path, found, quoted
from productive_k3s_infra.cluster_file.tree import Tree

_SERVER: Path = ("spec", "k3s", "server")
# K3s' defaults (docs.k3s.io, cli/server, networking).
_DEFAULTS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
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


def _networks(tree: Tree, flag: str, bad: list[Found]) -> tuple[_Named, ...]:
    if tree.get(*_SERVER, flag) is None:
        unknown = flag in tree.mapping(*_SERVER)
        return () if unknown else (_Named(flag, ipaddress.ip_network(_DEFAULTS[flag]), None),)
    result = []
    for path, text in _parts(tree, flag):
        network = _network(text)
        if network is not None:
            result.append(_Named(flag, network, path))
            continue
        what = f"{flag} {quoted(text)} is no network"
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
    nodes = tree.get("spec", "nodes")
    for index in range(len(nodes)) if isinstance(nodes, list) else ():
        path = ("spec", "nodes", index, "address")
        address = _address(tree.text(*path))
        for named in networks:
            if address is not None and address in named.network:
                what = f"the node's address {address} lies in {named}"
                remedy = f"give the cluster another network with k3s.server.{named.flag}"
                yield found(path, "file.networks-overlap", what, remedy=remedy)


def _dns(tree: Tree, services: tuple[_Named, ...]) -> Iterator[Found]:
    for path, text in _parts(tree, "cluster-dns"):
        address = _address(text)
        if address is None:
            yield found(path, "file.network", f"cluster-dns {quoted(text)} is no address", expected="an IP address")
        elif services and not any(address in named.network for named in services):
            what = f"cluster-dns {address} lies outside {' and '.join(map(str, services))}"
            yield found(path, "file.cluster-dns", what, remedy="choose an address of service-cidr, usually the tenth")


def _address(text: str | None) -> _Address | None:
    try:
        return ipaddress.ip_address(text or "")
    except ValueError:
        return None
