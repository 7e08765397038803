"""`cluster.lock`: the clusters that the cluster files of a folder made, by name; the team commits it.

Of each cluster it holds the CA, the exact version and, where pk3s did not make the machines, how each host was reached.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from productive_k3s.k3s.release import DEFAULT_VERSION
from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra._flock import hold_folder
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.plan.model import ClusterRecord, Reach
from productive_k3s_infra.workspace.directory import AREA, LOCK_FILE

SCHEMA = 2
_HEAD = f"""\
# Written by pk3s. Commit this file: the hash of a cluster's CA makes sure that a second cluster is never founded by
# mistake, and the version is the one that was installed.
schema: {SCHEMA}
clusters:
"""
_CA_HASH = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"v\d+\.\d+\.\d+\S*")
_RECORD_KEYS = ("caHash", "version", "hosts")
_REACH_KEYS = ("address", "user", "port", "jump", "key", "hostKey")
_UNWRAPPED = 1 << 20

# The C loader where PyYAML has it: the file grows with the hosts.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_Values = dict[str, tuple[yaml.Node, str]]
"""The nodes of a mapping by key, each with its place, `FILE:LINE`."""


@dataclass(frozen=True)
class _Lock:
    """The file as it was read. `spans` says where the lines of each record are; empty where they cannot be told."""

    text: str
    records: Mapping[str, ClusterRecord]
    spans: Mapping[str, tuple[int, int]]


def read_record(folder: Path, cluster: str) -> ClusterRecord | None:
    """Return what is recorded of a cluster beside its file, None where nothing is.

    Raises BadInput, with the line, for a file that is not understood, whichever cluster that line speaks of.
    """
    return _read(folder / LOCK_FILE).records.get(cluster)


def write_record(folder: Path, cluster: str, record: ClusterRecord) -> bool:
    """Record a cluster; say whether the file changed. What it says of other clusters stays as it stands there.

    A file that is not understood is never replaced: BadInput. Raises Locked when the file stays in use elsewhere.
    """
    path = folder / LOCK_FILE
    require_plausible(record, str(path))
    with _held(path):
        lock = _read(path)
        if lock.records.get(cluster) == record:
            return False
        with explained(path, AREA):
            return replace_file(path, _with(lock, cluster, record).encode(), 0o644)


def forget_record(folder: Path, cluster: str) -> bool:
    """Take out the record of a cluster that is gone; say whether there was one. The file goes with the last one."""
    path = folder / LOCK_FILE
    with _held(path):
        lock = _read(path)
        if cluster not in lock.records:
            return False
        with explained(path, AREA):
            if len(lock.records) == 1:
                path.unlink()
            else:
                replace_file(path, _with(lock, cluster, None).encode(), 0o644)
    return True


def require_plausible(record: ClusterRecord, where: str) -> None:
    """Raise BadInput for a record that the next run could not read."""
    if not _CA_HASH.fullmatch(record.ca_hash):
        raise _broken(where, "caHash is not the hash of a CA", record.ca_hash, "expected 64 lower-case hex digits")
    if not _VERSION.fullmatch(record.version):
        raise _broken(
            where,
            "version is not an exact K3s version",
            record.version,
            f"expected a version such as {DEFAULT_VERSION}",
        )


def _held(path: Path) -> Any:
    # Two clusters of one folder have a lock each, and both may write at the same time: one must not lose the other's.
    return hold_folder(path.parent, path.name)


def _with(lock: _Lock, cluster: str, record: ClusterRecord | None) -> str:
    """Return the text with one record changed, added or taken out; all other lines stay where the file allows it."""
    wanted = {name: found for name, found in lock.records.items() if name != cluster}
    if record is not None:
        wanted[cluster] = record
    if lock.spans:
        text = _spliced(lock, cluster, record)
        if _parse(text, Path(LOCK_FILE)).records == wanted:
            return text
    return _HEAD + "".join(_rendered(name, wanted[name]) for name in sorted(wanted))


def _spliced(lock: _Lock, cluster: str, record: ClusterRecord | None) -> str:
    first = min(start for start, _end in lock.spans.values())
    indent = len(lock.text[first:]) - len(lock.text[first:].lstrip(" "))
    new = "" if record is None else _rendered(cluster, record, indent)
    if cluster in lock.spans:
        start, end = lock.spans[cluster]
    else:
        after = [begin for name, (begin, _end) in lock.spans.items() if name > cluster]
        start = end = min(after, default=max(end for _begin, end in lock.spans.values()))
    before = lock.text[:start]
    return before + ("\n" if new and before[-1:] not in {"", "\n"} else "") + new + lock.text[end:]


def _rendered(name: str, record: ClusterRecord, indent: int = 2) -> str:
    document: dict[str, Any] = {"caHash": record.ca_hash, "version": record.version}
    if record.hosts:
        document["hosts"] = {host: _reach_document(reach) for host, reach in record.hosts.items()}
    text = yaml.safe_dump({name: document}, sort_keys=False, width=_UNWRAPPED, allow_unicode=True)
    return textwrap.indent(text, " " * indent)


def _reach_document(reach: Reach) -> dict[str, Any]:
    return {
        "address": reach.address,
        "user": reach.user,
        "port": reach.port,
        **({"jump": _reach_document(reach.jump)} if reach.jump is not None else {}),
        **({"key": reach.key} if reach.key else {}),
        **({"hostKey": reach.host_key} if reach.host_key else {}),
    }


def _read(path: Path) -> _Lock:
    with explained(path, AREA):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return _Lock("", {}, {})
    try:
        return _parse(content.decode(), path)
    except UnicodeDecodeError as error:
        raise _broken(str(path), "cluster.lock is not text", str(error)) from error


def _parse(text: str, path: Path) -> _Lock:
    try:
        document = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise _broken(where, "cluster.lock is not YAML", str(getattr(error, "problem", None) or error)) from error
    if not isinstance(document, yaml.MappingNode):
        raise _broken(f"{path}:1", "cluster.lock does not hold records of clusters", "")
    values = _values(document, path)
    _require_schema(values, path)
    _require_keys(values, ("schema", "clusters"))
    if "clusters" not in values:
        raise _broken(f"{path}:1", "cluster.lock has no clusters", ", ".join(values))
    clusters, where = values["clusters"]
    records = {name: _record(node, at, path) for name, (node, at) in _mapping(clusters, where, path).items()}
    return _Lock(text, records, _spans(text, clusters))


def _require_schema(values: _Values, path: Path) -> None:
    if "caHash" in values:
        raise BadInput(
            "cluster.lock has the format of an earlier pk3s: one record, for a cluster without a name",
            where=values["caHash"][1],
            evidence=f"keys {', '.join(values)}",
            remedy="add the name of its cluster, and nothing is lost: put 'schema: "
            "2' and 'clusters:' at the top, below it "
            "'  NAME:' (metadata.name of its cluster file), and below that 'caHash: ...' and 'version: ...' as they "
            "are, indented by four spaces",
            code="record.unnamed",
        )
    if "schema" not in values:
        raise _broken(f"{path}:1", "cluster.lock has no schema", ", ".join(values) or "no keys")
    node, where = values["schema"]
    text = _text(node, where)
    if not text.isascii() or not text.isdigit():
        raise _broken(where, "schema is not a number", text)
    if (schema := int(text)) != SCHEMA:
        raise BadInput(
            "cluster.lock was written by a newer pk3s" if schema > SCHEMA else "cluster.lock has an unknown schema",
            where=where,
            evidence=f"schema {schema}, known here is {SCHEMA}",
            remedy="use the pk3s that the team uses",
            code="record.newer",
        )


def _record(node: yaml.Node, where: str, path: Path) -> ClusterRecord:
    values = _mapping(node, where, path)
    _require_keys(values, _RECORD_KEYS)
    hosts = _mapping(*values["hosts"], path) if "hosts" in values else {}
    reached = {name: _reach(value, at, path) for name, (value, at) in hosts.items()}
    record = ClusterRecord(_field(values, "caHash", where), _field(values, "version", where), reached)
    require_plausible(record, values["version" if _CA_HASH.fullmatch(record.ca_hash) else "caHash"][1])
    return record


def _reach(node: yaml.Node, where: str, path: Path) -> Reach:
    values = _mapping(node, where, path)
    _require_keys(values, _REACH_KEYS)
    port = _field(values, "port", where, "22")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise _broken(values["port"][1], "port is not a port", port)
    return Reach(
        address=_field(values, "address", where),
        user=_field(values, "user", where),
        port=int(port),
        jump=_reach(*values["jump"], path) if "jump" in values else None,
        key=_field(values, "key", where, ""),
        host_key=_field(values, "hostKey", where, ""),
    )


def _spans(text: str, clusters: yaml.Node) -> dict[str, tuple[int, int]]:
    """Return from where to where the lines of each record go, with the remarks that follow them."""
    if not isinstance(clusters, yaml.MappingNode) or clusters.flow_style:
        return {}
    starts = [text.rfind("\n", 0, key.start_mark.index) + 1 for key, _value in clusters.value]
    ends = [*starts[1:], text.rfind("\n", 0, clusters.end_mark.index) + 1 or len(text)]
    if not text.endswith("\n") and clusters.end_mark.index >= len(text):
        ends[-1] = len(text)
    return {key.value: span for (key, _value), span in zip(clusters.value, zip(starts, ends, strict=True), strict=True)}


def _mapping(node: yaml.Node, where: str, path: Path) -> _Values:
    if not isinstance(node, yaml.MappingNode):
        raise _broken(where, "cluster.lock has a simple value where a mapping is needed", str(node.value)[:80])
    return _values(node, path)


def _values(document: yaml.MappingNode, path: Path) -> _Values:
    values: _Values = {}
    for key, value in document.value:
        where = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise _broken(where, "cluster.lock has a key that is not text", "")
        if key.value in values:
            raise _broken(where, "cluster.lock has a key twice", key.value)
        values[key.value] = (value, where)
    return values


def _require_keys(values: _Values, known: tuple[str, ...]) -> None:
    for key, (_node, where) in values.items():
        if key not in known:
            raise _broken(where, "cluster.lock has an unknown key", key)


def _field(values: _Values, key: str, where: str, missing: str | None = None) -> str:
    if key in values:
        return _text(*values[key])
    if missing is None:
        raise _broken(where, f"a record of cluster.lock has no {key}", ", ".join(values) or "no keys")
    return missing


def _text(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _broken(where, "cluster.lock has a mapping or list where a simple value is needed", "")
    return str(node.value)


def _broken(where: str, what: str, evidence: str, remedy: str = "") -> BadInput:
    return BadInput(
        what,
        where=where,
        evidence=evidence[:200],
        remedy=(remedy + "; " if remedy else "")
        + "restore the file from version control, and do not write one yourself",
        code="record.broken",
    )
