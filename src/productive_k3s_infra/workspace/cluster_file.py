"""A new cluster file in its folder: one that is there is never replaced."""

from __future__ import annotations

import tempfile
from pathlib import Path

from productive_k3s_infra._files import explain, explained
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.workspace.directory import AREA


def write_cluster_file(path: Path, text: str) -> None:
    """Write the new file; an existing one is never replaced. Raises BadInput or StepFailed where it cannot be."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInput(
            "the file exists already", where=str(path), remedy="choose another name with -f", code="init.exists"
        ) from error
    except OSError as error:
        raise explain(error, path, AREA) from error


def require_free(file: Path) -> None:
    """Raise BadInput if the file is there, or nothing can be written beside it: before anything is asked."""
    if file.exists() or file.is_symlink():
        raise BadInput(
            "the file exists already", where=str(file), remedy="choose another name with -f", code="init.exists"
        )
    with explained(file, AREA), tempfile.TemporaryFile(dir=file.parent):
        pass
