"""`pk3s runs`: the runs of a cluster, and one of them in time, from their journals."""

from __future__ import annotations

from pathlib import Path

from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.operations.run_timeline import Run, run_of
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.journal import list_journals, read_journal

LAST = "last"


def list_runs(workspace: Workspace) -> tuple[Run, ...]:
    """Return the runs whose journals are kept here, the oldest first. A journal that cannot be read has no verb."""
    return tuple(map(_run_or_nothing, list_journals(workspace)))


def get_run(workspace: Workspace, name: str) -> Run:
    """Return one run, by its id, the beginning of it, or `last`; raises BadInput where it is not exactly one."""
    journals = list_journals(workspace)
    exact = [path for path in journals if path.stem == name]
    found = exact or (
        list(journals[-1:]) if name == LAST else [path for path in journals if path.stem.startswith(name)]
    )
    if len(found) != 1:
        near = [path.stem for path in (found or journals)][-5:]
        raise BadInput(
            "more than one run begins with this" if found else "there is no such run",
            where=name,
            evidence=f"runs: {', '.join(near)}" if near else f"there is no journal in {workspace.journals}",
            remedy="pk3s runs lists them" if near else "runs that change something keep a journal: pk3s apply",
            code="run.unknown",
        )
    return run_of(found[0].stem, read_journal(found[0]))


def _run_or_nothing(path: Path) -> Run:
    try:
        return run_of(path.stem, read_journal(path))
    except (BadInput, KeyError, TypeError, ValueError):
        return Run(path.stem, "", "", "", 0.0, None)
