"""A new cluster file in its folder, with its schema for editors: one that is there is never replaced."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path

from productive_k3s_infra._files import explain, explained, replace_file
from productive_k3s_infra.cluster_file.schema import MODELINE, SCHEMA_FILE, SCHEMA_ID, schema_text
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.workspace.directory import AREA

_SCHEMA_MODE = 0o644


def write_cluster_file(path: Path, text: str) -> None:
    """Write the new file; an existing one is never replaced. Raises BadInput or StepFailed where it cannot be.

    Its first line names the schema, which is written beside it: editors complete and check the file with it.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(MODELINE + text)
    except FileExistsError as error:
        raise BadInput(
            "the file already exists", where=str(path), remedy="choose another name with -f", code="init.exists"
        ) from error
    except OSError as error:
        raise explain(error, path, AREA) from error
    write_schema(path.parent)


def write_schema(folder: Path) -> None:
    """Write the schema into the folder of a cluster file; a file of that name that is none of ours is left alone.

    Nothing is raised: without it the cluster file is as good, and an editor says less of it.
    """
    path = folder / SCHEMA_FILE
    with suppress(OSError):
        if _is_free(path):
            replace_file(path, schema_text().encode(), _SCHEMA_MODE)


def _is_free(path: Path) -> bool:
    """Whether nothing is there, or a schema that pk3s wrote."""
    if not path.exists():
        return not path.is_symlink()
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("$id") == SCHEMA_ID


def require_free(file: Path) -> None:
    """Raise BadInput if the file is there, or nothing can be written beside it: before anything is asked."""
    if file.exists() or file.is_symlink():
        raise BadInput(
            "the file already exists", where=str(file), remedy="choose another name with -f", code="init.exists"
        )
    with explained(file, AREA), tempfile.TemporaryFile(dir=file.parent):
        pass
