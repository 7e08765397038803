"""K3s is taken off this host: by the text of our own scripts, and then what these leave behind. Safe to repeat.

The scripts are the one uninstaller. Whoever runs `k3s-uninstall.sh` has the same effects, except for what upstream's
script of that name leaves too: the node's password, logs of pods, runtime state, cgroups (docs/known-differences.md).
"""

from __future__ import annotations

import posixpath
from typing import Awaitable, Callable, Mapping, Sequence, Tuple

from productive_k3s.contract.change import Action, Change
from productive_k3s.contract.failure import ContractError, Failure, system_failure
from productive_k3s.doors.host import Host
from productive_k3s.doors.system import System
from productive_k3s.effects import service
from productive_k3s.effects.hosts import write_block
from productive_k3s.facts import unit_state
from productive_k3s.facts.unit_state import UnitState
from productive_k3s.k3s import paths
from productive_k3s.plan import render
from productive_k3s.waits.loop import Bounds, Look, wait_until

_STOP_SECONDS = 90.0
_POLL_SECONDS = 0.5
_SCRIPT_SECONDS = 300.0
_UNITS = ("k3s", "k3s-agent")
_CGROUPS = "/sys/fs/cgroup"


async def undo(host: Host, change: Change) -> None:
    """Do one change of an uninstallation; what does not work is a ContractError."""
    try:
        await _EFFECTS[change.action](host, change)
    except OSError as error:
        raise ContractError(system_failure(error)) from error


async def _stop_unit(host: Host, change: Change) -> None:
    """Stop it, and wait until it is down, since what is removed after it must not be in use."""
    await service.systemctl(host.system, "stop", "--no-block", change.target)

    async def look(_: float) -> Look[UnitState]:
        state = await unit_state.state(host.system, change.target)
        return Look(state, "" if state.active in ("inactive", "failed") else str(state))

    stopped = await wait_until(host, look, Bounds(_STOP_SECONDS, _POLL_SECONDS, may_stop=False), change.id)
    if not stopped.is_done:
        raise ContractError(
            Failure(
                "k3s.does-not-stop",
                f"{change.target} did not stop within {_STOP_SECONDS:.0f} s",
                stopped.lacking,
                f"see journalctl -u {change.target}, stop it manually, then run it again",
            )
        )


async def _kill_all(host: Host, _: Change) -> None:
    done = await host.system.run(
        ("sh", "-s"), timeout=_SCRIPT_SECONDS, stdin=render.script("k3s-killall.sh", _UNITS[0]).encode()
    )
    if done.returncode != 0:
        raise ContractError(
            Failure(
                "k3s.containers-left",
                "processes of containers cannot be stopped",
                " ".join(done.stderr.split())[-_EVIDENCE_LENGTH:] or f"status {done.returncode}",
                "check what they are waiting for (ps -o stat,wchan), or restart the host, then run it again",
            )
        )


async def _remove_files(host: Host, _: Change) -> None:
    """Run our script for each unit, then take what it leaves. What is mounted below the data directory stays."""
    system = host.system
    elsewhere = await _links_to_others(system)
    for unit in _UNITS:
        # It ends with 0 whatever it met: what it could not do is seen when the host is looked at again.
        await system.run(
            ("sh", "-s"),
            timeout=_SCRIPT_SECONDS,
            stdin=render.script("k3s-uninstall.sh", unit).encode(),
            environment={"BY_PRODUCTIVE_K3S": "1"},
        )
    others = [name for name in await system.list_directory(paths.SYSTEMD_DIRECTORY) if _is_unit_of_k3s(name)]
    if others:
        host.emit("note", f"another K3s service is installed ({', '.join(others)}): what both use is kept")
        return
    for path, target in elsewhere:
        host.emit("note", f"{path} was a link to {target}: its content there is kept")
    for path in paths.WRITTEN_BY_K3S:
        await _empty_if_link(system, path)
    for path in paths.LEFT_BY_K3S:
        await _remove_folder(system, path)
    await system.remove(f"{paths.BINARY}.partial")
    await _remove_container_state(system)
    await _remove_cgroups(system, _CGROUPS)
    for path in paths.SHARED_DIRECTORIES:
        if not await system.list_directory(path):
            await _remove_if_unused(system, path)
    await system.remove_tree(paths.PROGRAM_DIRECTORY)
    # Last, as the lock of this run lies there.
    await system.remove_tree(paths.RUN_DIRECTORY)


def _is_unit_of_k3s(name: str) -> bool:
    return name.startswith("k3s") and name.endswith(".service")


async def _remove_folder(system: System, path: str) -> None:
    if not await _empty_if_link(system, path):
        await system.remove_tree(path)


async def _empty_if_link(system: System, path: str) -> bool:
    """Empty a folder that somebody put on another disk; whether it is one. The link is theirs and stays."""
    found = await system.stat(path)
    if found is None or found.kind != "link":
        return False
    await system.empty_tree(path)
    return True


async def _links_to_others(system: System) -> Sequence[Tuple[str, str]]:
    """Return links in the data directory, with their targets, to folders in which not only K3s writes: volumes, images.

    What is in them may be of several hosts, or needed afterwards.
    """
    found = []
    for outer in await system.list_directory(paths.DATA):
        inner = await system.list_directory(f"{paths.DATA}/{outer}")
        for path in (f"{paths.DATA}/{outer}", *(f"{paths.DATA}/{outer}/{name}" for name in inner)):
            there = await system.stat(path)
            if there is None or there.kind != "link" or path in paths.WRITTEN_BY_K3S:
                continue
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), there.link))
            # K3s' own links lead from one of its folders to another; links to files are of no account.
            if not target.startswith(f"{paths.DATA}/") and await system.list_directory(path):
                found.append((path, target))
    return found


async def _remove_names(host: Host, change: Change) -> None:
    await write_block(host.system, change.target, ())


async def _remove_container_state(system: System) -> None:
    """Remove what runc, the shims and containerd left. Another containerd's (Docker's) lies beside it, and lives on."""
    await system.remove_tree(f"{paths.CONTAINERD_STATE}/runc/k8s.io")
    alive = (await system.read("/proc/net/unix") or b"").decode(errors="replace").split()
    shims = f"{paths.CONTAINERD_STATE}/s"
    for folder, bound in ((shims, shims), (paths.NRI_STATE, paths.NRI_BOUND)):
        for name in await system.list_directory(folder):
            if not {f"{folder}/{name}", f"{bound}/{name}"} & set(alive):
                await system.remove(f"{folder}/{name}")


async def _remove_cgroups(system: System, path: str, *, ours: bool = False) -> None:
    """Remove the kubelet's cgroups, which are empty now: they slow down the next start here."""
    for name in await system.list_directory(path):
        below = f"{path}/{name}"
        found = await system.stat(below)
        if found is not None and found.kind == "directory":
            await _remove_cgroups(system, below, ours=ours or name.startswith("kubepods"))
    if ours:
        await _remove_if_unused(system, path)


async def _remove_if_unused(system: System, path: str) -> None:
    found = await system.stat(path)
    if found is None or found.kind != "directory":
        return
    try:
        await system.remove(path)
    except OSError:
        # A mount point, or filled in this moment: it belongs to somebody else then.
        return


_EVIDENCE_LENGTH = 400
_EFFECTS: Mapping[Action, Callable[[Host, Change], Awaitable[None]]] = {
    "stop-unit": _stop_unit,
    "kill-all": _kill_all,
    "remove-files": _remove_files,
    "remove-hosts": _remove_names,
}
