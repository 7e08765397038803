"""The program and the images get their names: verified, whole, and with all that they shall have by then."""

from __future__ import annotations

import errno
from dataclasses import replace

from productive_k3s.contract.change import Change
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Artifact
from productive_k3s.doors.host import Host
from productive_k3s.doors.system import Stat, System
from productive_k3s.effects.task import Task
from productive_k3s.facts.selinux import label_for
from productive_k3s.k3s import paths


async def install_binary(task: Task, change: Change) -> None:
    binary = task.request.binary
    if binary is None:
        raise ContractError(_no_artifact("k3s"))
    await _place(task, binary, change.target, 0o755)


async def install_images(task: Task, change: Change) -> None:
    image = next((item for item in task.request.images if change.target.endswith(f"/{item.name}")), None)
    if image is None:
        raise ContractError(_no_artifact(change.target))
    await task.host.system.make_directory(paths.IMAGES, 0o755)
    await _place(task, image, change.target, 0o644)


async def _place(task: Task, artifact: Artifact, target: str, mode: int) -> None:
    """Put an artefact in place, verified before it gets its name: from where it was staged, a file here, or a URL."""
    system = task.host.system
    # Before the file gets its name: a kill after that would leave a label that nobody looks at again.
    label = await label_for(system, target)
    staged = paths.staged(artifact.sha256, artifact.name)
    there = await system.stat(staged)
    if there is not None:
        await _verify_staged(task.host, staged, artifact.sha256)
        if not (_may_move(there) and await _move(task.host, staged, target, mode, label)):
            await system.copy(staged, target, artifact.sha256, mode, label=label)
        await system.remove(staged)
        await system.remove(f"{paths.STAGED}/{artifact.sha256}")
    elif artifact.url is not None and artifact.url.startswith("file://"):
        await _copy(system, artifact, target, mode, label)
    elif artifact.url is not None:
        limit, proxies = task.request.deadlines.download, task.desired.variables
        await system.download(
            artifact.url,
            target,
            artifact.sha256,
            mode,
            limit,
            environment=proxies,
            label=label,
            going_on=task.host.require_going_on,
        )
    else:
        raise ContractError(_no_artifact(artifact.name))


def _no_artifact(name: str) -> Failure:
    return Failure(
        "artifact.missing",
        f"{name} is not on this host, and the request does not say where to fetch it",
        remedy="name a release (--artifacts), or stage it first (productive-k3s stage)",
    )


async def _verify_staged(host: Host, staged: str, sha256: str) -> None:
    """Look once more at what was verified when it came: it may lie there since long."""
    found = await host.system.sha256(staged)
    if found == sha256:
        return
    # Facts take its folder's name for its digest: as long as it lies there, nobody stages it again.
    await host.system.remove(staged)
    await host.system.remove(staged.rpartition("/")[0])
    raise ContractError(
        Failure(
            "artifact.checksum",
            f"{staged} changed after it was staged, and was removed",
            f"sha256 is {found}, expected {sha256}",
            "stage it again (pk3s does so in its next run); if that does not help, check the host's disk",
        )
    )


async def _copy(system: System, artifact: Artifact, target: str, mode: int, label: str) -> None:
    source = (artifact.url or "")[len("file://") :]
    try:
        await system.copy(source, target, artifact.sha256, mode, label=label)
    except FileNotFoundError as error:
        raise ContractError(replace(_no_artifact(artifact.name), evidence=f"{source} is not there")) from error


def _may_move(staged: Stat) -> bool:
    """PURE: whether the staged file itself may become the installed one: its owner keeps a way to change it."""
    return staged.kind == "file" and (staged.uid, staged.gid) == (0, 0)


async def _move(host: Host, staged: str, target: str, mode: int, label: str) -> bool:
    """Rename into place what was verified; False, and nothing is moved, if the target is on another file system.

    It was synced when it came, and is the old file or the new one at any moment: under its new name, or still staged.
    """
    await host.system.make_directory(target.rpartition("/")[0], 0o755)
    try:
        await host.system.adopt(staged, target, mode, label=label)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True
