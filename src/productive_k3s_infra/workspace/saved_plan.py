"""A saved plan as a file: written whole, readable by this user only, and read with every doubt."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from productive_k3s.contract.codec import encode
from productive_k3s_infra._files import at_home, explained, replace_file
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.plan.saved import SavedPlan
from productive_k3s_infra.workspace.directory import AREA

KIND = "productive-k3s-saved-plan"
FORMAT = 1
_HEAD = ("kind", "format")
# A plan of hundreds of hosts has some megabytes; what is larger is something else.
_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class SavedFile:
    """A saved plan that was read; `digest`, SHA-256 of the file, tells it from every other one."""

    path: Path
    digest: str
    content: SavedPlan


def digest_of(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def require_writable_name(path: Path) -> None:
    """Raise BadInput where a file lies that is no saved plan: it is not replaced by one."""
    path = at_home(path)
    with explained(path, AREA):
        if path.is_file() and path.stat().st_size and not _is_saved_plan(path):
            raise BadInput(
                "the file exists and is not a saved plan, so it is not replaced",
                where=str(path),
                remedy="choose another name, or move that file",
                code="plan.out-exists",
            )


def write_saved_plan(path: Path, saved: SavedPlan) -> None:
    """Write it in one go with mode 0600; a saved plan that is there is replaced. Raises BadInput and StepFailed."""
    document = {"kind": KIND, "format": FORMAT, **encode(saved)}
    path = at_home(path)
    require_writable_name(path)
    with explained(path, AREA):
        replace_file(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(), 0o600)


def read_saved_plan(path: Path, *, version: str, program: str) -> SavedFile:
    """Read one that this version and host program made; raises BadInput that says what else it is."""
    path = at_home(path)
    with explained(path, AREA):
        data = path.read_bytes()
    document = _document(path, data)
    _require_same_version(path, document, version, program)
    try:
        saved = _adapter().validate_python({key: value for key, value in document.items() if key not in _HEAD})
    except ValidationError as error:
        first = error.errors()[0]
        raise _unreadable(path, f"{'.'.join(map(str, first['loc'][:4]))}: {first['msg']}") from None
    if {"kind": KIND, "format": FORMAT, **encode(saved)} != document:
        raise _unreadable(path, "it contains something that does not belong to a plan")
    return SavedFile(path, digest_of(data), saved)


@cache
def _adapter() -> TypeAdapter[SavedPlan]:
    return TypeAdapter(SavedPlan)


def _is_saved_plan(path: Path) -> bool:
    with path.open("rb") as file:
        return KIND.encode() in file.read(len(KIND) + 64)


def _document(path: Path, data: bytes) -> dict[str, Any]:
    if len(data) > _MOST_BYTES:
        raise _unreadable(path, f"{len(data)} bytes")
    try:
        document = json.loads(data)
    except ValueError as error:
        begun = data.lstrip().startswith(b"{") and KIND.encode() in data
        raise _unreadable(path, "it is cut off" if begun else f"it is not JSON ({error})") from None
    except RecursionError:
        raise _unreadable(path, "it is nested too deeply") from None
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise _unreadable(path, f"it is JSON without the kind {KIND}")
    return document


def _unreadable(path: Path, evidence: str) -> BadInput:
    return BadInput(
        "this is not a saved plan that can be applied",
        where=str(path),
        evidence=evidence[:200],
        remedy="make one with pk3s plan --out FILE; give the cluster file with -f",
        code="plan.unreadable",
    )


def _require_same_version(path: Path, document: dict[str, Any], version: str, program: str) -> None:
    """Another pk3s may plan otherwise, and its hosts would do otherwise what is called the same."""
    if document.get("format") != FORMAT:
        seen = f"format {document.get('format')!r}, this pk3s has format {FORMAT}"
    elif document.get("pk3s") != version:
        seen = f"made by pk3s {document.get('pk3s')!r}, this is {version}"
    elif document.get("program") != program:
        seen = f"made with the host program {str(document.get('program'))[:12]}, this pk3s has {program[:12]}"
    else:
        return
    raise BadInput(
        "the plan was saved by another pk3s",
        where=str(path),
        evidence=seen[:200],
        remedy="make the plan again with pk3s plan --out FILE, or apply it with the pk3s that made it",
        code="plan.other-version",
    )
