"""PURE: which keys go with which kind of provider. The tree is read, so that one mistake does not hide another."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from productive_k3s_infra.cluster_file.mistake import Found, Path, found, quoted
from productive_k3s_infra.cluster_file.provider import DOCUMENTS, HOST_LABEL, Capabilities, capabilities_of, kind_of
from productive_k3s_infra.cluster_file.rules import NODES, count_of, expand, nodes
from productive_k3s_infra.cluster_file.shape import PROVIDER, keys_at, of_another_provider
from productive_k3s_infra.cluster_file.tree import Tree

_SIZES = ("cpus", "memory", "disk", "type")


def check_provider(tree: Tree) -> Iterator[Found]:
    """Yield keys outside `spec.provider` that do not go with its kind, and what its own keys must not say together."""
    kind = tree.text(*PROVIDER, "kind")
    can = capabilities_of(kind)
    if kind is None or can is None:
        return
    yield from _network(tree)
    yield from _sizes(tree, (*PROVIDER, "machine"), kind, can)
    if not can.two_addresses:
        yield from _misplaced(tree, ("spec", "ssh"), "via", kind, lambda other: other.two_addresses)
    for path, node in nodes(tree):
        yield from _address(tree, path, node, kind, can)
        yield from _name(tree, path, kind, can)
        if not can.sizes:
            yield from _misplaced(tree, path, "machine", kind, lambda other: bool(other.sizes))
        if not can.public_address:
            yield from _misplaced(tree, path, "publicAddress", kind, lambda other: other.public_address)
        yield from _sizes(tree, (*path, "machine"), kind, can)
    count = sum(1 if "count" not in node else count_of(tree, path) or 0 for path, node in nodes(tree))
    if can.most_machines is not None and count > can.most_machines:
        what = f"{kind} does not have enough addresses for {count} machines"
        yield found(NODES, "file.machines", what, expected=f"at most {can.most_machines}", at_key=True)


def _misplaced(tree: Tree, path: Path, key: str, kind: str, has: Callable[[Capabilities], bool]) -> Iterator[Found]:
    if key in tree.mapping(*path):
        kinds = tuple(kind_of(document) for document in DOCUMENTS if has(document.capabilities))
        yield of_another_provider((*path, key), kinds, kind)


def _sizes(tree: Tree, path: Path, kind: str, can: Capabilities) -> Iterator[Found]:
    for key in tree.mapping(*path) if can.sizes else ():
        if key not in can.sizes and key in _SIZES:
            yield from _misplaced(tree, path, key, kind, lambda other, key=key: key in other.sizes)  # type: ignore[misc]
    disk = tree.text(*path, "disk")
    if can.whole_gigabytes and disk is not None and disk.endswith("M"):
        yield found((*path, "disk"), "file.size", f"{quoted(disk)} is not a volume size", expected="whole G, as 80G")


def _network(tree: Tree) -> Iterator[Found]:
    written = [key for key in ("vpcId", "subnetId") if key in tree.mapping(*PROVIDER)]
    if len(written) == 1 and "vpcId" in keys_at(PROVIDER, tree.text(*PROVIDER, "kind")):
        other = "subnetId" if written == ["vpcId"] else "vpcId"
        what = f"{written[0]} without {other}"
        remedy = f"add {other}, or leave both out for the region's default VPC"
        yield found((*PROVIDER, written[0]), "file.vpc-and-subnet", what, remedy=remedy, at_key=True)


def _address(tree: Tree, path: Path, node: dict[str, Any], kind: str, can: Capabilities) -> Iterator[Found]:
    if "count" in node and "address" in node:
        remedy = "leave the address out" if can.makes_machines else "write a node for each"
        what = "several machines cannot share one address"
        yield found((*path, "count"), "file.count-with-address", what, remedy=remedy, at_key=True)
    elif "count" in node and not can.makes_machines:
        what = "count is for providers that create machines"
        yield found((*path, "count"), "file.count", what, remedy="write a node with its address for each", at_key=True)
    elif can.address == "given" and "address" in node:
        what = f"a {kind} machine gets its address when it is created"
        yield found((*path, "address"), "file.address", what, remedy="leave the address out", at_key=True)
    elif can.address == "chosen" and "address" in node:
        yield from _private(tree, (*path, "address"))
    if can.address == "required" and "address" not in node:
        what = f"missing key 'address' of the node {quoted(node.get('name', ''))}"
        yield found(path, "file.missing-key", what, expected="the address at which the other nodes reach it")


def _name(tree: Tree, path: Path, kind: str, can: Capabilities) -> Iterator[Found]:
    """A machine's name becomes its host name; what the provider cannot call it, nobody shall learn from an apply."""
    name = tree.text(*path, "name")
    names = () if name is None else expand(name, count_of(tree, path))
    if any("." in item for item in names) and not can.dotted_names:
        what = f"a machine of {kind} cannot be called {quoted(name)}: its name is its host name"
        yield found((*path, "name"), "file.machine-name", what, expected="a name without dots")
    longest = max(names, key=len, default="")
    if HOST_LABEL >= len(longest) > can.longest_name:
        what = f"a machine of {kind} cannot be called {quoted(longest)}: {len(longest)} letters"
        yield found((*path, "name"), "file.machine-name", what, expected=f"at most {can.longest_name}")


def _private(tree: Tree, place: Path) -> Iterator[Found]:
    text = tree.text(*place)
    if text is None:
        return
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        what = f"{quoted(text)} is not an IPv4 address"
        yield found(place, "file.address", what, expected="a free address of the subnet, or nothing")


def remarks(tree: Tree) -> Iterator[Found]:
    """Yield what is written and has no effect."""
    kind = tree.text(*PROVIDER, "kind")
    can = capabilities_of(kind)
    if can is None or not can.own_key:
        return
    remedy = f"pk3s creates {kind} machines with its own key"
    written = [("spec", "ssh")] if tree.mapping("spec", "ssh") else []
    places = [*written, *((*path, key) for path, node in nodes(tree) for key in ("ssh", "hostKey") if key in node)]
    for path in places:
        yield found(path, "file.no-effect", f"{path[-1]} has no effect on {kind} machines", remedy=remedy, at_key=True)
