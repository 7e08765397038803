"""PURE: rules over the nodes of a cluster file. They read the tree and pass over what has another mistake already."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from productive_k3s_infra.cluster_file import text_checks
from productive_k3s_infra.cluster_file.mistake import Found, Path, found, quoted
from productive_k3s_infra.cluster_file.model import MOST_MACHINES
from productive_k3s_infra.cluster_file.tree import EMPTY, Tree
from productive_k3s_infra.cluster_file.values import number

NODES: Path = ("spec", "nodes")


def check_nodes(tree: Tree) -> Iterator[Found]:
    """Yield what is wrong with the nodes: names, addresses, counts, roles, labels, taints."""
    yield from _names(tree)
    yield from _addresses(tree)
    yield from _servers(tree)
    for path, node in nodes(tree):
        yield from _labels(tree, path)
        taints = node.get("taints")
        for index in range(len(taints)) if isinstance(taints, list) else ():
            taint = tree.text(*path, "taints", index)
            objection = None if taint is None else text_checks.taint(taint)
            if objection is not None:
                yield Found((*path, "taints", index), objection)


def expand(name: str, count: int | None) -> tuple[str, ...]:
    """Return the names of the nodes that an entry stands for: with a count they are numbered, also if it is 1."""
    return (name,) if count is None else tuple(f"{name}-{index}" for index in range(1, count + 1))


def nodes(tree: Tree) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the entries of the list of nodes that are mappings, with their paths."""
    written = tree.get(*NODES)
    for index in range(len(written)) if isinstance(written, list) else ():
        node = tree.get(*NODES, index)
        if isinstance(node, dict):
            yield (*NODES, index), node


def count_of(tree: Tree, path: Path) -> int | None:
    """Return how many nodes the entry at a path stands for, None where it does not say it, or not rightly."""
    count = number(tree.get(*path, "count"))
    return count if isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= MOST_MACHINES else None


def _names(tree: Tree) -> Iterator[Found]:
    seen: dict[str, int] = {}
    for path, _ in nodes(tree):
        name = tree.text(*path, "name")
        if name is None:
            continue
        place = (*path, "name")
        names = expand(name, count_of(tree, path))
        objection = next((item for item in map(text_checks.node_name, names) if item is not None), None)
        if objection is not None:
            yield Found(place, objection)
        taken = [item for item in names if item.casefold() in seen]
        if taken:
            remedy = f"the other one is in line {seen[taken[0].casefold()]}"
            what = f"two nodes are called {quoted(taken[0])}"
            yield found(place, "file.duplicate-node", what, remedy=remedy)
        seen.update(dict.fromkeys((item.casefold() for item in names), tree.place(found(place, "", "")).line))


def _addresses(tree: Tree) -> Iterator[Found]:
    taken: dict[tuple[object, ...], int] = {}
    for path, _ in nodes(tree):
        for place, key in _where(tree, path):
            if key in taken:
                what = f"the address {quoted(tree.text(*place))} is that of another node"
                yield found(place, "file.duplicate-address", what, remedy=f"the other one is in line {taken[key]}")
            else:
                taken[key] = tree.place(found(place, "", "")).line


def _where(tree: Tree, path: Path) -> Iterator[tuple[Path, tuple[object, ...]]]:
    address, door = tree.text(*path, "address"), tree.text(*path, "ssh", "address")
    if address:
        yield (*path, "address"), ("node", _same(address))
    if door:
        # Behind one address several hosts can be reached by different ports, or from different jump hosts.
        jump, port = (_of_ssh(tree, path, key) for key in ("jump", "port"))
        yield (*path, "ssh", "address"), ("ssh", _same(door), str(22 if port is None else port), str(jump))


def _of_ssh(tree: Tree, path: Path, key: str) -> Any:
    own = tree.get(*path, "ssh", key)
    return tree.get("spec", "ssh", key) if own is None else own


def _same(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address.lower().removesuffix(".")


def _servers(tree: Tree) -> Iterator[Found]:
    nodes = tree.get(*NODES)
    if not isinstance(nodes, list):
        return
    roles = [tree.text(*NODES, index, "role") for index in range(len(nodes))]
    several = "declare one server; the other nodes are agents"
    servers = [(*NODES, index) for index, role in enumerate(roles) if role == "server"]
    for path in servers[1:]:
        what = "more than one server is not supported yet"
        yield found((*path, "role"), "file.servers", what, remedy=several)
    if servers and (count_of(tree, servers[0]) or 0) > 1:
        what = "more than one server is not supported yet"
        yield found((*servers[0], "count"), "file.servers", what, remedy=several)
    if not servers and all(role == "agent" for role in roles):
        yield found(NODES, "file.no-server", "no node is a server", remedy="give one of them role: server", at_key=True)


def _labels(tree: Tree, path: Path) -> Iterator[Found]:
    for key, value in tree.mapping(*path, "labels").items():
        if value is not EMPTY and isinstance(value, str) and (*path, "labels", key) not in tree.broken:
            objection = text_checks.label(key, value)
            if objection is not None:
                yield Found((*path, "labels", key), objection, at_key=True)
