"""PURE: the K3s flags in a cluster file: names by role, types, values; by the host program's own table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from productive_k3s.contract.request import Request
from productive_k3s.k3s import flags
from productive_k3s.plan import request_rules
from productive_k3s_infra.cluster_file.mistake import Found, Objection, Path, found, quoted
from productive_k3s_infra.cluster_file.rules import nodes
from productive_k3s_infra.cluster_file.shape import named, wrong_type
from productive_k3s_infra.cluster_file.substitute import Substituted
from productive_k3s_infra.cluster_file.tree import EMPTY, Tree
from productive_k3s_infra.cluster_file.values import number, plain

Role = Literal["server", "agent"]
_K3S: Path = ("spec", "k3s")
# Go's time.ParseDuration.
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+")


# Of what is not K3s' own "critical": the registration address, the checks and the kubeconfig go by one port, and K3s
# deploys and deletes what `disable` says from every server.
_OF_THE_CLUSTER = ("disable", "https-listen-port")


def check_flags(tree: Tree) -> Iterator[Found]:
    """Yield what is wrong with the flags of servers, of agents, and of single nodes."""
    lenient = bool(_newer_note(tree))
    version = tree.text(*_K3S, "version") or ""
    for role in ("server", "agent"):
        path = (*_K3S, role)
        yield from _check_block(tree, path, role, tree.mapping(*path), version=version, lenient=lenient)
    for path, node in nodes(tree):
        own = {key: value for key, value in tree.mapping(*path, "k3s").items() if key != "files"}
        if node.get("role") in ("server", "agent"):
            yield from _check_block(tree, (*path, "k3s"), str(node["role"]), own, version=version, lenient=lenient)
            yield from _of_one_node((*path, "k3s"), own)
    yield from _external_ip(tree)


def _check_block(
    tree: Tree, path: Path, role: str, written: Mapping[str, Any], *, version: str, lenient: bool
) -> Iterator[Found]:
    for key, value in written.items():
        yield from _check_name(path, role, key, version, lenient=lenient)
        if not flags.check(role, [key], version) and (*path, key) not in tree.broken:
            yield from _check_value((*path, key), key, value)
    yield from _twice(path, written)


def _of_one_node(path: Path, written: Mapping[str, Any]) -> Iterator[Found]:
    for key in written:
        flag = flags.table().find(key)
        if flag is not None and "server" in flag.roles and (flag.critical or flag.name in _OF_THE_CLUSTER):
            what = f"{quoted(key)} is a flag for the whole cluster"
            yield found(
                (*path, key), "file.flag-of-the-cluster", what, remedy="move it to spec.k3s.server", at_key=True
            )


def version_remarks(tree: Tree) -> Iterator[Found]:
    """Yield what is worth to be known of the version: newer than the flags known here, or past its end of life."""
    path = (*_K3S, "version")
    newer, past = _newer_note(tree), request_rules.past_end_note(tree.text(*path) or "")
    if newer:
        yield found(path, "file.newer-version", newer)
    if past:
        yield found(path, "file.version-past-end", past)


def _newer_note(tree: Tree) -> str:
    version = tree.text(*_K3S, "version") or ""
    return request_rules.unknown_version_note(Request("server", version)) if version else ""


def typed(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked flags by their long names, with the values of variables in the type that the flag has."""
    result = {}
    for key, value in written.items():
        flag = flags.table().find(key)
        result[flag.name if flag else key] = plain(_as_type(value, flag.type if flag else ""))
    return result


def _check_name(path: Path, role: str, key: str, version: str, *, lenient: bool) -> Iterator[Found]:
    for failure in flags.check(role, [key], version):
        if not (lenient and failure.code == "request.unknown-flag"):
            yield found((*path, key), failure.code, failure.what, remedy=failure.remedy, at_key=True)


def _check_value(path: Path, key: str, value: Any) -> Iterator[Found]:
    flag = flags.table().find(key)
    if flag is None:
        return
    if flag.type == "string-list" and isinstance(value, list):
        for index, item in enumerate(value):
            if not isinstance(item, str):
                yield Found((*path, index), wrong_type((*path, index), item, "a string"))
        return
    objection = _wrong_value(path, flag, _as_type(value, flag.type))
    if objection is not None:
        yield Found(path, objection)


def _wrong_value(path: Path, flag: flags.Flag, value: Any) -> Objection | None:
    types: dict[str, tuple[type, str]] = {
        "int": (int, "a whole number"),
        "bool": (bool, "true or false"),
        "string-list": (str, "a list of strings"),
    }
    wanted, words = types.get(flag.type, (str, "a string"))
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        return wrong_type(path, value, words)
    if flag.type == "duration" and not _DURATION.fullmatch(str(value)):
        return Objection("file.flag-value", f"{named(path)} is {quoted(value)}", "a duration such as 5m0s")
    if flag.allowed and value not in flag.allowed:
        return Objection("file.flag-value", f"{named(path)} is {quoted(value)}", f"one of {', '.join(flag.allowed)}")
    return None


def _twice(path: Path, written: Mapping[str, Any]) -> Iterator[Found]:
    for key in written:
        flag = flags.table().find(key)
        if flag is not None and flag.name != key and flag.name in written:
            what = f"{quoted(key)} is another name for {quoted(flag.name)}, which is also set"
            yield found((*path, key), "file.duplicate-key", what, remedy="leave one of them out", at_key=True)


def _external_ip(tree: Tree) -> Iterator[Found]:
    """A server's node-external-ip may stand with its role or with the node, and so may what it needs beside it."""
    common = tree.mapping(*_K3S, "server")
    blocks: list[tuple[Path, dict[str, Any]]] = [((*_K3S, "server"), common)]
    for path, node in nodes(tree):
        if node.get("role") == "server" and "node-external-ip" in tree.mapping(*path, "k3s"):
            blocks.append(((*path, "k3s"), {**common, **tree.mapping(*path, "k3s")}))
    for path, written in blocks:
        config = {key: value for key, value in written.items() if value is not EMPTY and key != "files"}
        if "node-external-ip" not in config:
            continue
        for failure in request_rules.mistakes(Request("server", flags.table().newest, config=config)):
            if failure.code == "request.external-ip":
                place = (*path, "node-external-ip")
                yield found(place, failure.code, failure.what, remedy=failure.remedy, at_key=True)


def _as_type(value: Any, kind: str) -> Any:
    if kind == "int":
        return number(value)
    if kind == "bool" and isinstance(value, Substituted) and value in {"true", "false"}:
        return value == "true"
    return value
