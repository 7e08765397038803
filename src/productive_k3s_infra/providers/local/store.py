"""What is on disk of a set: one folder, one record, one folder per machine; a crash never leaves half a record."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from productive_k3s_infra._files import replace_file
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.providers.local.model import MachineRecord, MachineRequest, SetRecord

DEFAULT_ROOT = Path("/var/lib/productive-k3s/machines")
_SCHEMA = 1


@dataclass(frozen=True)
class MachineFolder:
    """The places of one machine. `data` holds all it writes, and is a file system of its own when a size was asked."""

    path: Path

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def disk(self) -> Path:
        return self.path / "disk.img"

    @property
    def upper(self) -> Path:
        return self.data / "upper"

    @property
    def work(self) -> Path:
        return self.data / "work"

    @property
    def rancher(self) -> Path:
        return self.data / "rancher"

    @property
    def root(self) -> Path:
        return self.path / "root"

    @property
    def host_key(self) -> Path:
        return self.path / "host_key"

    @property
    def public_host_key(self) -> Path:
        return self.path / "host_key.pub"

    @property
    def log(self) -> Path:
        return self.path / "console.log"

    @property
    def prepared(self) -> Path:
        return self.path / "prepared"


@dataclass(frozen=True)
class SetFolder:
    """The folder of one set under the root."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        return self.root / self.name

    @property
    def lock(self) -> Path:
        return self.root / f".{self.name}.lock"

    @property
    def record(self) -> Path:
        return self.path / "set.json"

    def machine(self, name: str) -> MachineFolder:
        return MachineFolder(self.path / name)


def load_record(folder: SetFolder) -> SetRecord | None:
    """Read the record of a set, or None when there is no such set."""
    try:
        text = folder.record.read_text()
    except FileNotFoundError:
        return None
    return parse_record(text, folder.record)


def save_record(folder: SetFolder, record: SetRecord) -> None:
    """Write the record of a set."""
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder.record, render_record(record))


def render_record(record: SetRecord) -> str:
    """Turn a record into the text of its file."""
    return json.dumps({"schema": _SCHEMA, **asdict(record)}, indent=2) + "\n"


def parse_record(text: str, where: Path) -> SetRecord:
    """Turn the text of a record's file back into the record."""
    try:
        document = json.loads(text)
        if document["schema"] != _SCHEMA:
            raise _unreadable(where, f"schema {document['schema']}, this program knows {_SCHEMA}")
        machines = tuple(
            MachineRecord(**{**one, "request": MachineRequest(**one["request"])}) for one in document["machines"]
        )
        return SetRecord(document["name"], document["number"], machines)
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(where, repr(error)) from error


def known_records(root: Path) -> tuple[SetRecord, ...]:
    """List the records of all sets under a root."""
    if not root.is_dir():
        return ()
    folders = (SetFolder(root, path.name) for path in sorted(root.iterdir()) if not path.name.startswith("."))
    return tuple(record for record in map(load_record, folders) if record is not None)


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that readers, and a crash, see the old text or the new one."""
    replace_file(path, text.encode(), mode)


def _unreadable(where: Path, evidence: str) -> ProviderFailed:
    return ProviderFailed(
        "the record of a set of machines cannot be read",
        where=str(where),
        evidence=evidence,
        remedy="it was written by another version, or edited manually: destroy the set with the version that made it",
        code="local.record-unreadable",
    )
