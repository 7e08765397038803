"""`cluster.lock`: the CA of the one cluster that this cluster file made, and its exact version; the team commits it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.workspace.directory import AREA

SCHEMA = 1
_HEAD = """\
# Written by pk3s. Commit this file: the hash of the cluster's CA makes sure that a second cluster is never founded by
# mistake, and the version is the one that was installed.
"""
_CA_HASH = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"v\d+\.\d+\.\d+\S*")
_KEYS = ("schema", "caHash", "version")


def read_record(path: Path) -> ClusterRecord | None:
    """Return what is recorded, None without a file. Raises BadInput, with the line, for one that is not understood."""
    with explained(path, AREA):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
    return _parse(content, path)


def write_record(path: Path, record: ClusterRecord) -> bool:
    """Record the cluster; say whether the file changed. A file that is not understood is never replaced: BadInput."""
    require_plausible(record, str(path))
    if read_record(path) == record:
        return False
    text = f"{_HEAD}schema: {SCHEMA}\ncaHash: {record.ca_hash}\nversion: {record.version}\n"
    with explained(path, AREA):
        return replace_file(path, text.encode(), 0o644)


def require_plausible(record: ClusterRecord, where: str) -> None:
    """Raise BadInput for a record that the next run could not read."""
    if not _CA_HASH.fullmatch(record.ca_hash):
        raise _broken(where, "caHash is no hash of a CA", record.ca_hash, "64 lower-case hex digits are expected")
    if not _VERSION.fullmatch(record.version):
        raise _broken(where, "version is no exact K3s version", record.version, "expected is such as v1.34.4+k3s1")


def _parse(content: bytes, path: Path) -> ClusterRecord:
    try:
        document = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise _broken(str(path), "cluster.lock is not text", str(error)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise _broken(where, "cluster.lock is not YAML", str(getattr(error, "problem", None) or error)) from error
    if not isinstance(document, yaml.MappingNode):
        raise _broken(f"{path}:1", "cluster.lock does not hold a cluster's record", "")
    values = _values(document, path)
    line = {key: f"{path}:{number}" for key, (_value, number) in values.items()}
    if (schema := _schema(values, path)) != SCHEMA:
        raise BadInput(
            "cluster.lock was written by a newer pk3s" if schema > SCHEMA else "cluster.lock has an unknown schema",
            where=line["schema"],
            evidence=f"schema {schema}, known here is {SCHEMA}",
            remedy="use the pk3s that the team uses",
            code="record.newer",
        )
    for key in values:
        if key not in _KEYS:
            raise _broken(line[key], "cluster.lock has an unknown key", key)
    record = ClusterRecord(*(_text(values, key, path) for key in ("caHash", "version")))
    require_plausible(record, line["caHash"] if not _CA_HASH.fullmatch(record.ca_hash) else line["version"])
    return record


def _values(document: yaml.MappingNode, path: Path) -> dict[str, tuple[Any, int]]:
    values: dict[str, tuple[Any, int]] = {}
    for key, value in document.value:
        number = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            raise _broken(f"{path}:{number}", "cluster.lock holds only simple values", "")
        if key.value in values:
            raise _broken(f"{path}:{number}", "cluster.lock names a key twice", key.value)
        values[key.value] = (value.value, number)
    return values


def _schema(values: dict[str, tuple[Any, int]], path: Path) -> int:
    text = _text(values, "schema", path)
    if not text.isascii() or not text.isdigit():
        raise _broken(f"{path}:{values['schema'][1]}", "schema is no number", text)
    return int(text)


def _text(values: dict[str, tuple[Any, int]], key: str, path: Path) -> str:
    if key not in values:
        raise _broken(f"{path}:1", f"cluster.lock has no {key}", ", ".join(values) or "no keys")
    return str(values[key][0])


def _broken(where: str, what: str, evidence: str, remedy: str = "") -> BadInput:
    return BadInput(
        what,
        where=where,
        evidence=evidence[:200],
        remedy=(remedy + "; " if remedy else "") + "take the file from version control, never make one up",
        code="record.broken",
    )
