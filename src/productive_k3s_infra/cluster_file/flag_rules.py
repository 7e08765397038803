"""PURE: the K3s flags in a cluster file: names by role, types, values; by the host program's own table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from productive_k3s.contract.request import Request
from productive_k3s.k3s import flags
from productive_k3s.plan import request_rules
from productive_k3s_infra.cluster_file.document import number
from productive_k3s_infra.cluster_file.mistake import Found, Objection, Path, found, quoted
from productive_k3s_infra.cluster_file.shape import named, wrong_type
from productive_k3s_infra.cluster_file.substitute import Substituted
from productive_k3s_infra.cluster_file.tree import EMPTY, Tree

Role = Literal["server", "agent"]
_K3S: Path = ("spec", "k3s")
# Go's time.ParseDuration.
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+")


def check_flags(tree: Tree) -> Iterator[Found]:
    """Yield what is wrong with the flags of servers and of agents."""
    lenient = bool(newer_note(tree))
    version = tree.text(*_K3S, "version") or ""
    for role in ("server", "agent"):
        path = (*_K3S, role)
        written = tree.mapping(*path)
        for key, value in written.items():
            yield from _check_name(path, role, key, version, lenient=lenient)
            if not flags.check(role, [key], version) and (*path, key) not in tree.broken:
                yield from _check_value((*path, key), key, value)
        yield from _twice(path, written)
    yield from _external_ip(tree)


def newer_note(tree: Tree) -> str:
    """Return a remark if the version is newer than the flag table, '' else: then unknown flags are let through."""
    version = tree.text(*_K3S, "version") or ""
    return request_rules.unknown_version_note(Request("server", version)) if version else ""


def typed(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked flags by their long names, with the values of variables in the type that the flag has."""
    result = {}
    for key, value in written.items():
        flag = flags.table().find(key)
        result[flag.name if flag else key] = _plain(_as_type(value, flag.type if flag else ""))
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
            what = f"{quoted(key)} is another name of {quoted(flag.name)}, which is here too"
            yield found((*path, key), "file.duplicate-key", what, remedy="leave one of them out", at_key=True)


def _external_ip(tree: Tree) -> Iterator[Found]:
    config = {key: value for key, value in tree.mapping(*_K3S, "server").items() if value is not EMPTY}
    if "node-external-ip" not in config:
        return
    for failure in request_rules.mistakes(Request("server", flags.table().newest, config=config)):
        if failure.code == "request.external-ip":
            path = (*_K3S, "server", "node-external-ip")
            yield found(path, failure.code, failure.what, remedy=failure.remedy, at_key=True)


def _as_type(value: Any, kind: str) -> Any:
    if kind == "int":
        return number(value)
    if kind == "bool" and isinstance(value, Substituted) and value in {"true", "false"}:
        return value == "true"
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
