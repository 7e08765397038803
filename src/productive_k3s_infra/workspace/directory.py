"""Where the things of one cluster lie: `.pk3s/<cluster>/` beside the cluster file, and what the team commits."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from productive_k3s_infra._files import at_home, explained, replace_file
from productive_k3s_infra.errors import BadInput

AREA = "workspace"
LOCK_FILE = "cluster.lock"
_FOLDER = ".pk3s"


@dataclass(frozen=True)
class Workspace:
    """The places of one cluster. Making one touches nothing on disk; `open_workspace` does.

    `kubeconfig`, `inventory`, `journals`, `operator_key` and `lock` are this computer's; `lock_file` and `known_hosts`
    lie beside the cluster file and are committed with it.
    """

    cluster_file: Path
    cluster: str

    def __post_init__(self) -> None:
        if self.cluster in {"", ".", ".."} or "/" in self.cluster or "\0" in self.cluster:
            raise BadInput(
                f"{self.cluster!r} cannot be the name of a cluster's folder",
                where=str(self.cluster_file),
                remedy="use letters, digits and dashes in metadata.name",
            )

    @property
    def folder(self) -> Path:
        """The folder of the cluster file, absolute, so that it stays what it is when the working folder changes.

        It is one folder however it was named: machines of the provider `local` are known by it.
        """
        folder = at_home(self.cluster_file).absolute().parent
        return folder.resolve() if ".." in folder.parts else folder

    @property
    def path(self) -> Path:
        return self.folder / _FOLDER / self.cluster

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def inventory(self) -> Path:
        return self.path / "inventory.json"

    @property
    def journals(self) -> Path:
        return self.path / "journal"

    @property
    def operator_key(self) -> Path:
        """The private key for machines that pk3s makes; its public half lies beside it with `.pub`."""
        return self.path / "operator_key"

    @property
    def lock(self) -> Path:
        """The file whose flock says that a pk3s works here."""
        return self.path / "lock"

    @property
    def lock_file(self) -> Path:
        """The records of the clusters of this folder: CA and exact version, by name."""
        return self.folder / LOCK_FILE

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"


def open_workspace(cluster_file: Path, cluster: str) -> Workspace:
    """Make the cluster directory be there, writable by this user only.

    Raises BadInput (read-only, no permission, somebody else's, no folder) or StepFailed (no space).
    """
    workspace = Workspace(cluster_file, cluster)
    top = workspace.path.parent
    with explained(workspace.path, AREA):
        top.mkdir(mode=0o755, exist_ok=True)
        _require_own(top)
        if not (top / ".gitignore").exists():
            replace_file(top / ".gitignore", b"*\n", 0o644)
        make_private(workspace.path)
    return workspace


def make_private(folder: Path) -> None:
    """Make the folder be there with mode 0700. Raises OSError, and BadInput when it belongs to somebody else."""
    folder.mkdir(mode=0o700, exist_ok=True)
    _require_own(folder)
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)


def _require_own(folder: Path) -> None:
    # Keys lie here: whoever owns the folder could put others in their place, even where root may write to it.
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise BadInput(
            "the folder belongs to another user",
            where=str(folder),
            evidence=f"owner {owner}, pk3s runs as {os.geteuid()}",
            remedy=f"run pk3s as that user, or change the owner: chown -R {os.geteuid()} {folder}",
            code=f"{AREA}.owner",
        )
