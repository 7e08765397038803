"""`pk3s kubeconfig --merge | --unmerge`: the cluster's context in the person's own kubeconfig."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput, Pk3sError
from productive_k3s_infra.operations.kubeconfig import get_kubeconfig
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.kubeconfig import read_kubeconfig
from productive_k3s_infra.workspace.merged_kubeconfig import Ours, ca_of, merged, unmerged

_AREA = "kubeconfig"
_BACKUP = ".before-pk3s"


@dataclass(frozen=True)
class Merged:
    """What became of the person's file; `backup` is what it was before, None where nothing had to be written."""

    path: Path
    context: str
    changed: bool
    current: bool
    backup: Path | None


def persons_kubeconfig(environment: Mapping[str, str], home: Path) -> Path:
    """Return the file that kubectl writes to: the first that $KUBECONFIG names, else ~/.kube/config."""
    named = [part for part in environment.get("KUBECONFIG", "").split(":") if part]
    return Path(named[0]) if named else home / ".kube" / "config"


async def merge_kubeconfig(session: Session, path: Path, *, use: bool) -> Merged:
    """Fetch the kubeconfig, and put its context into the person's file (0600), named as the cluster.

    A symbolic link is followed, what was there is kept beside, and nothing else in the file changes. Raises Refused
    where the name is somebody else's, BadInput for a file that is no kubeconfig: then nothing was changed.
    """
    _require_other(session.workspace, path)
    ours = _ours(session)
    unmerged(_read(path), str(path), ours)  # it is no kubeconfig: that is said before a host is asked
    await get_kubeconfig(session)
    document = read_kubeconfig(session.workspace)
    return _write(path, ours, lambda text: merged(text, str(path), ours, document, use=use), current=use)


def unmerge_kubeconfig(session: Session, path: Path) -> Merged:
    """Take out what `merge_kubeconfig` put in, and nothing else; no host is asked."""
    _require_other(session.workspace, path)
    ours = _ours(session)
    try:
        ca = ca_of(read_kubeconfig(session.workspace))
    except Pk3sError:
        ca = ""  # the folder of the cluster file tells them
    return _write(path, ours, lambda text: unmerged(text, str(path), ours, ca), current=False)


def _ours(session: Session) -> Ours:
    return Ours(session.spec.name, str(session.workspace.folder))


def _write(path: Path, ours: Ours, change: Callable[[str], str], *, current: bool) -> Merged:
    before = _read(path)
    text = change(before)
    there = path.resolve()
    if text == before:
        return Merged(path, ours.name, changed=False, current=current, backup=None)
    backup = there.with_name(there.name + _BACKUP) if before else None
    with explained(there, _AREA):
        there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if backup is not None:
            replace_file(backup, before.encode(), 0o600)
        replace_file(there, text.encode(), 0o600)
    return Merged(path, ours.name, changed=True, current=current, backup=backup)


def _read(path: Path) -> str:
    try:
        with explained(path, _AREA):
            return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            "nothing can be merged into this kubeconfig",
            where=str(path),
            evidence="it is not UTF-8",
            remedy="repair it or move it away; nothing was changed",
            code="kubeconfig.unusable",
        ) from error
    except BadInput as error:
        if error.code == "kubeconfig.missing" and not path.is_symlink():
            return ""
        raise


def _require_other(workspace: Workspace, path: Path) -> None:
    if path.resolve() == workspace.kubeconfig.resolve():
        raise BadInput(
            "KUBECONFIG names this cluster's own file, and nothing is merged into that",
            where=str(path),
            remedy="unset KUBECONFIG, or put your own file first in it",
            code="kubeconfig.own",
        )
