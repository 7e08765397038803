"""The journal: what happened in one run, one JSON object a line, kept for the person who asks afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from productive_k3s.contract.redaction import redact
from productive_k3s.contract.secret import Secret
from productive_k3s_infra._files import explain, explained
from productive_k3s_infra.errors import BadInput, Pk3sError
from productive_k3s_infra.workspace.directory import AREA, Workspace, make_private, open_workspace

SCHEMA = 1
KEPT = 50
_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class JournalEntry:
    """One line: when (UTC, and seconds since the run began), what kind of thing, and its fields."""

    time: str
    seconds: float
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """The open journal of one run; may be used from several threads.

    Trouble with the file never stops the run: `on_trouble` is told once, and what could not be written is counted in
    the file as soon as that is possible again. `path` is None when no file could be made.
    """

    def __init__(self, path: Path | None, descriptor: int | None, on_trouble: Callable[[str], None]) -> None:
        self.path = path
        self._descriptor = descriptor
        self._on_trouble = on_trouble
        self._told = descriptor is None
        self._lost = 0
        self._began = time.monotonic()
        self._guard = threading.Lock()

    def record(self, kind: str, /, **fields: object) -> None:
        """Append one line, flushed. Raises TypeError for a Secret anywhere in it, and for what JSON cannot hold."""
        plain = {name: _plain(value, name) for name, value in fields.items()}
        with self._guard:
            if self._lost and self._append("lines-lost", {"count": self._lost}):
                self._lost = 0
            if not self._append(kind, plain):
                self._lost += 1

    def close(self) -> None:
        """Close the file; later lines are dropped."""
        with self._guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _append(self, kind: str, fields: Mapping[str, Any]) -> bool:
        if self._descriptor is None:
            return False
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds": round(time.monotonic() - self._began, 3),
            "kind": redact(kind),
            "fields": fields,
        }
        # backslashreplace: a lone surrogate (a file name's odd byte) becomes its JSON escape.
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            self._write_whole(self._descriptor, line)
        except OSError as error:
            self._tell(error)
            return False
        return True

    @staticmethod
    def _write_whole(descriptor: int, line: bytes) -> None:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            # Half a line would spoil the next one.
            with suppress(OSError):
                os.ftruncate(descriptor, end)
            raise

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            self._on_trouble(f"the journal {self.path} cannot be written: {error.strerror or error}; the run continues")


def open_journal(workspace: Workspace, verb: str, on_trouble: Callable[[str], None]) -> Journal:
    """Begin the journal of a run; remove all but the newest ones.

    It never raises for the file's sake: where none can be made (a read-only checkout) `on_trouble` hears why.
    """
    try:
        open_workspace(workspace.cluster_file, workspace.cluster)
        path = workspace.journals / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{verb}-{os.getpid()}{_SUFFIX}"
        with explained(path, AREA):
            make_private(workspace.journals)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except Pk3sError as error:
        on_trouble(f"no journal is written: {error} ({error.evidence})")
        return Journal(None, None, on_trouble)
    journal = Journal(path, descriptor, on_trouble)
    journal.record("run-started", schema=SCHEMA, verb=verb, pid=os.getpid(), cluster=workspace.cluster)
    for old in list_journals(workspace)[:-KEPT]:
        with suppress(OSError):
            old.unlink()
    return journal


def list_journals(workspace: Workspace) -> tuple[Path, ...]:
    """Return the journals, the oldest first."""
    try:
        return tuple(sorted(path for path in workspace.journals.iterdir() if path.suffix == _SUFFIX))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise explain(error, workspace.journals, AREA) from error


def read_journal(path: Path) -> tuple[JournalEntry, ...]:
    """Return the entries for a replay. A last line that a kill cut is left out; any other broken line is BadInput."""
    with explained(path, AREA):
        content = path.read_bytes()
    lines = content.split(b"\n")
    cut = lines.pop()  # what follows the last newline: nothing, unless the writer was killed
    entries = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    if cut:
        with suppress(BadInput):
            entries.append(_parse(cut, str(path)))
    return tuple(entries)


def _parse(line: bytes, where: str) -> JournalEntry:
    try:
        entry = json.loads(line)
        return JournalEntry(str(entry["time"]), float(entry["seconds"]), str(entry["kind"]), dict(entry["fields"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "this is not a line of a journal", where=where, evidence=str(error)[:200], code="journal.broken"
        ) from error


def _plain(value: object, where: str) -> Any:
    """Return what JSON holds, with secrets' looks redacted; say where in the fields a Secret or a stranger is."""
    if isinstance(value, Secret):
        raise TypeError(f"a secret does not belong into the journal ({where})")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str | Path):
        return redact(str(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [item.name for item in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name), f"{where}.{name}") for name in names}
    if isinstance(value, Mapping):
        return {redact(_key(key, where)): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_plain(item, where) for item in value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{type(value).__name__} does not belong into the journal ({where})")


def _key(key: object, where: str) -> str:
    if isinstance(key, str | int):
        return str(key)
    raise TypeError(f"a key is {type(key).__name__}, not text ({where})")
