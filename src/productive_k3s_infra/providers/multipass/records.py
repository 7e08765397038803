"""What is remembered of the instances that pk3s made: `.pk3s/<cluster>/multipass/<node>.json`, one file each.

Multipass keeps no word of ours with an instance. This record says which ones are ours, and the host keys that they were
given; without it, an instance is somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.workspace.directory import AREA, Workspace, make_private, open_workspace

_FOLDER = "multipass"


class Record(BaseModel):
    """One instance of ours. `finished`: it was seen to answer with its key; before, it may be half made.

    `host_keys` has one key, more only where a launch that was cut off may still come to its end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    record: Literal[1] = 1
    node: str
    instance: str
    id: str
    host_keys: tuple[str, ...]
    finished: bool = False
    image_hash: str = ""


def load_records(workspace: Workspace) -> Mapping[str, Record]:
    """Return the records by node, none before the first instance is made. Raises BadInput for a broken one."""
    folder = workspace.path / _FOLDER
    with explained(folder, AREA):
        files = sorted(folder.glob("*.json")) if folder.exists() else []
        texts = {path: path.read_text(encoding="utf-8") for path in files}
    return {record.node: record for record in (_read(path, text) for path, text in texts.items())}


def save_record(workspace: Workspace, record: Record) -> None:
    """Write a record, before the instance is made: what is cut off in between is found again."""
    open_workspace(workspace.cluster_file, workspace.cluster)
    path = _path(workspace, record.node)
    with explained(path, AREA):
        make_private(path.parent)
        replace_file(path, f"{record.model_dump_json(by_alias=True, indent=2)}\n".encode(), 0o600)


def remove_record(workspace: Workspace, node: str) -> None:
    """Forget an instance; no error if it is not known."""
    path = _path(workspace, node)
    with explained(path, AREA):
        path.unlink(missing_ok=True)


def _path(workspace: Workspace, node: str) -> Path:
    return workspace.path / _FOLDER / f"{node}.json"


def _read(path: Path, text: str) -> Record:
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(
            "the record of an instance cannot be read",
            where=str(path),
            evidence=str(error.errors()[0]["msg"]),
            remedy=(
                "put the file back; without it pk3s does not know that instance as its own: delete it "
                "with `multipass delete --purge`, then remove the file"
            ),
            code="multipass.record",
        ) from error
