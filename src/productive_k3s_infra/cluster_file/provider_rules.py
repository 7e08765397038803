"""PURE: which keys go with which kind of provider. The tree is read, so that one mistake does not hide another."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from productive_k3s_infra.cluster_file.mistake import Found, Path, found, quoted
from productive_k3s_infra.cluster_file.rules import nodes
from productive_k3s_infra.cluster_file.tree import Tree

PROVIDER: Path = ("spec", "provider")
_AWS_ONLY = ("region", "profile", "architecture", "allowedCidrs", "vpcId", "subnetId", "elasticIp", "keyPair")
# Key of the provider to the kinds that have it.
_KINDS = {
    "machine": ("multipass", "aws"),
    "image": ("multipass",),
    **dict.fromkeys((*_AWS_ONLY, "imageId", "tags", "state"), ("aws",)),
}
_SIZES = {"cpus": ("multipass",), "memory": ("multipass",), "disk": ("multipass", "aws"), "type": ("aws",)}
_REQUIRED = {"aws": (("region", "the region, as eu-central-1"), ("allowedCidrs", "networks for ssh and api"))}
_MAKES_MACHINES = ("local", "multipass", "aws")


def check_provider(tree: Tree) -> Iterator[Found]:
    """Yield keys that do not go with the kind of the provider, and those that are missing for it."""
    kind = tree.text(*PROVIDER, "kind")
    if kind not in (*_MAKES_MACHINES, "onprem"):
        return
    yield from _misplaced(tree, PROVIDER, _KINDS, kind)
    yield from _sizes(tree, (*PROVIDER, "machine"), kind)
    for key, expected in _REQUIRED.get(kind, ()):
        if key not in tree.mapping(*PROVIDER):
            yield found(
                PROVIDER, "file.missing-key", f"missing key {quoted(key)} of the provider {kind}", expected=expected
            )
    yield from _network(tree)
    if kind != "aws":
        yield from _misplaced(tree, ("spec", "ssh"), {"via": ("aws",)}, kind)
    for path, node in nodes(tree):
        yield from _node(tree, path, node, kind)


def _misplaced(tree: Tree, path: Path, kinds: dict[str, tuple[str, ...]], kind: str) -> Iterator[Found]:
    for key in tree.mapping(*path):
        allowed = kinds.get(str(key))
        if allowed is not None and kind not in allowed:
            what = f"{quoted(key)} is for the provider {' or '.join(allowed)}, this is {kind}"
            yield found((*path, key), "file.other-provider", what, remedy="leave it out", at_key=True)


def _sizes(tree: Tree, path: Path, kind: str) -> Iterator[Found]:
    if kind not in _KINDS["machine"]:
        return
    yield from _misplaced(tree, path, _SIZES, kind)
    disk = tree.text(*path, "disk")
    if kind == "aws" and disk is not None and disk.endswith("M"):
        yield found((*path, "disk"), "file.size", f"{quoted(disk)} is no size of a volume", expected="whole G, as 80G")


def _network(tree: Tree) -> Iterator[Found]:
    written = [key for key in ("vpcId", "subnetId") if key in tree.mapping(*PROVIDER)]
    if len(written) == 1:
        other = "subnetId" if written == ["vpcId"] else "vpcId"
        what = f"{written[0]} without {other}"
        remedy = f"add {other}, or leave both out for the region's default VPC"
        yield found((*PROVIDER, written[0]), "file.vpc-and-subnet", what, remedy=remedy, at_key=True)


def _node(tree: Tree, path: Path, node: dict[str, Any], kind: str) -> Iterator[Found]:
    if "count" in node and "address" in node:
        remedy = "write a node for each" if kind == "onprem" else "leave the address out"
        what = "several machines cannot have one address"
        yield found((*path, "count"), "file.count-with-address", what, remedy=remedy, at_key=True)
    elif kind == "onprem" and "count" in node:
        what = "count is for providers that make machines"
        yield found((*path, "count"), "file.count", what, remedy="write a node with its address for each", at_key=True)
    elif kind in ("local", "multipass") and "address" in node:
        what = f"a {kind} machine gets its address when it is made"
        yield found((*path, "address"), "file.address", what, remedy="leave the address out", at_key=True)
    elif kind == "aws" and "address" in node:
        yield from _private(tree, (*path, "address"))
    if kind == "onprem" and "address" not in node:
        what = f"missing key 'address' of the node {quoted(node.get('name', ''))}"
        yield found(path, "file.missing-key", what, expected="the address at which the other nodes reach it")
    yield from _misplaced(tree, path, {"machine": _KINDS["machine"], "publicAddress": ("onprem",)}, kind)
    yield from _sizes(tree, (*path, "machine"), kind)


def _private(tree: Tree, place: Path) -> Iterator[Found]:
    text = tree.text(*place)
    if text is None:
        return
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        what = f"{quoted(text)} is no IPv4 address"
        yield found(place, "file.address", what, expected="a free address of the subnet, or nothing")


def remarks(tree: Tree) -> Iterator[Found]:
    """Yield what is written and has no effect."""
    kind = tree.text(*PROVIDER, "kind")
    if kind not in ("local", "multipass"):
        return
    remedy = f"pk3s makes {kind} machines with a key of its own"
    written = [("spec", "ssh")] if tree.mapping("spec", "ssh") else []
    places = [*written, *((*path, key) for path, node in nodes(tree) for key in ("ssh", "hostKey") if key in node)]
    for path in places:
        yield found(path, "file.no-effect", f"{path[-1]} has no effect on {kind} machines", remedy=remedy, at_key=True)
