"""What a start of K3s depends on, and what the running process was started with (docs/decisions/0001)."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from productive_k3s.contract.codec import decode
from productive_k3s.contract.facts import Digests, K3sFacts, Running
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.system import Reading
from productive_k3s.facts.files import CLOCK_GRAIN_SECONDS, NOTHING_KNOWN, Known
from productive_k3s.facts.units import K3S_UNITS, Unit
from productive_k3s.k3s import paths


def running(
    unit: Optional[Unit],
    files: Sequence[Tuple[str, float]],
    on_disk: Digests,
    records: Mapping[str, Mapping[str, Any]],
) -> Optional[Running]:
    """PURE: return what the unit's process was started with, None if nothing runs.

    `files` are the paths that a start reads, with their ctimes.
    """
    if unit is None or not unit.fact.main_pid or unit.fact.active_state in ("inactive", "failed"):
        return None
    record = records.get(unit.fact.name, {})
    if record.get("invocation_id") and record["invocation_id"] == unit.fact.invocation_id:
        noted = _digests_of(record)
        if noted is not None:
            return Running("recorded", noted)
    if all(changed <= unit.fact.started for _, changed in files):
        return Running("unchanged", on_disk)
    return Running("unknown", None)


async def read_records(system: Reading) -> Dict[str, Mapping[str, Any]]:
    """Return the notes of earlier runs by unit; one that cannot be read is none."""
    found: Dict[str, Mapping[str, Any]] = {}
    for name in K3S_UNITS:
        data = await system.read(paths.running_record(name))
        try:
            document = json.loads(data) if data is not None else None
        except ValueError:
            document = None
        if isinstance(document, dict) and document.get("schema") == 1:
            found[name] = document
    return found


def _digests_of(record: Mapping[str, Any]) -> Optional[Digests]:
    try:
        return decode(Digests, record.get("digests"), "record")
    except ContractError:
        # Another version of this program wrote it: then ctimes decide.
        return None


def large_files(k3s: K3sFacts, now: float) -> Dict[str, Any]:
    """PURE: return what a record notes of large files, so that later looks need not read them again."""
    there = [item for item in (k3s.binary, *k3s.images) if item is not None]
    noted = [[item.path, item.changed, item.sha256] for item in there if now - item.changed >= CLOCK_GRAIN_SECONDS]
    binary = k3s.binary.sha256 if k3s.binary is not None else ""
    return {"files": noted, "binary": binary, "version": k3s.binary_version}


def known(records: Mapping[str, Mapping[str, Any]]) -> Known:
    """PURE: read back what `large_files` noted."""
    for record in records.values():
        noted = record.get("large_files")
        if not isinstance(noted, dict):
            continue
        try:
            found = {(str(path), float(changed)): str(digest) for path, changed, digest in noted["files"]}
        except (KeyError, TypeError, ValueError):
            continue
        return Known(found, str(noted.get("binary", "")), str(noted.get("version", "")))
    return NOTHING_KNOWN
