"""A machine's power switch: start it, ask it to stop, pull the plug, and see whether it runs."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from productive_k3s_infra import _process
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.providers.local.cgroup import Cgroups
from productive_k3s_infra.providers.local.model import MachineRecord, SetRecord
from productive_k3s_infra.providers.local.prepare import MOUNT_SOURCE
from productive_k3s_infra.providers.local.store import MachineFolder

START_SECONDS = 90
STOP_SECONDS = 20
_KILL_SECONDS = 15
_POLL_SECONDS = 0.05
# While an address is not there yet a connection attempt hangs; a new one finds it sooner.
_CONNECT_SECONDS = 0.2
_GREET_SECONDS = 2
# A machine gets a copy of all mounts of this computer, and would keep those of other machines alive after they ended:
# their disks would not be given back, and be mounted twice when they start again. So it takes its own only.
_OWN_MOUNTS_ONLY = f"""\
own=$1
shift
mounts=$(cat /proc/mounts)
printf '%s\\n' "$mounts" | while read -r source place rest; do
    [ "${{place%/*}}" = "$own" ] && continue
    case $source in
        {MOUNT_SOURCE}) umount "$place" ;;
        /dev/loop*) if [ -e "${{place%/data}}/disk.img" ]; then umount "$place"; fi ;;
    esac
done
exec "$@"
"""


def nspawn_argv(record: SetRecord, machine: MachineRecord, folder: MachineFolder) -> tuple[str, ...]:
    """Spell out the supervisor's command line. Machines share this computer's clock, so none may set it."""
    return (
        *("unshare", "--mount", "--propagation", "private"),
        *("sh", "-c", _OWN_MOUNTS_ONLY, "own-mounts-only", str(folder.path)),
        *("systemd-nspawn", "--quiet", "--settings=no", f"--directory={folder.root}"),
        *(f"--machine={record.container(machine)}", f"--hostname={machine.request.name}"),
        *("--keep-unit", "--register=no", f"--network-bridge={record.bridge}"),
        *("--capability=all", "--drop-capability=CAP_SYS_TIME", "--system-call-filter=add_key keyctl bpf @mount"),
        *("--bind=/dev/kmsg", f"--bind={folder.rancher}:/var/lib/rancher"),
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--boot", "--console=passive"),
    )


def is_first_process(status: str) -> bool:
    """Say from proc_pid_status(5) whether a process is the first one of a container directly on this computer."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) == 2 and numbers[1] == "1"
    return False


def find_init(cgroups: Cgroups, group: str) -> int | None:
    """Find the machine's first process; None when it does not run."""
    for pid in cgroups.processes(group):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # ended in between
        if is_first_process(status):
            return pid
    return None


def request_stop(cgroups: Cgroups, group: str) -> None:
    """Ask the machine to power off, and pull the plug if it has not within the deadline. Then nothing of it runs."""
    init = find_init(cgroups, group)
    if init is not None:
        _signal(init, _power_off())
        _wait_until_gone(cgroups, group, STOP_SECONDS)
    kill(cgroups, group)


def kill(cgroups: Cgroups, group: str) -> None:
    """Pull the plug: no process of the machine gets to do anything more. Then nothing of it runs.

    Killing the supervisor alone would leave the machine running without one; killing the first process ends all.
    """
    init = find_init(cgroups, group)
    if init is not None:
        _signal(init, signal.SIGKILL)
        _wait_until_gone(cgroups, group, _KILL_SECONDS)
    # Killing and removing go together: a supervisor whose start was cut off may enter the group at any moment, and
    # finds no group to enter when it is gone.
    deadline = time.monotonic() + _KILL_SECONDS
    while not cgroups.remove(group):
        left = cgroups.processes(group)
        for pid in left:
            _signal(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise ProviderFailed(
                "processes of a machine cannot be ended",
                where=group,
                evidence=f"still there after {_KILL_SECONDS} s: {left or cgroups.remains(group)}",
                remedy="check them (ps -o pid,stat,wchan,args)",
                code="local.stop",
            )
        time.sleep(_POLL_SECONDS)


def wait_until_ssh_answers(
    cgroups: Cgroups, group: str, address: str, port: int, log: Path, *, timeout_seconds: float
) -> None:
    """Wait until the machine's SSH server greets. Raises ProviderFailed with the machine's last words otherwise."""
    deadline = time.monotonic() + timeout_seconds
    while not _greets(address, port):
        if not cgroups.processes(group):
            raise _failed("the machine ended while it was starting", group, _tail(log))
        if time.monotonic() > deadline:
            raise _failed(
                f"the machine's SSH server does not answer on {address}:{port} after {timeout_seconds:g} s",
                group,
                _journal(cgroups, group) or _tail(log),
            )
        time.sleep(_POLL_SECONDS)


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll until the condition holds; say whether it did in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _wait_until_gone(cgroups: Cgroups, group: str, timeout_seconds: float) -> bool:
    return wait_until(lambda: not cgroups.processes(group), timeout_seconds)


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_SECONDS) as connection:
            connection.settimeout(_GREET_SECONDS)
            # RFC 4253, section 4.2: the server sends its identification string first.
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _power_off() -> int:
    # systemd(1), signals: SIGRTMIN+4 to the first process powers the machine off. macOS has no such signals, and every
    # verb imports this module, whatever makes the machines: so it is asked for only here.
    return int(signal.SIGRTMIN) + 4


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # what was wanted has happened


def _failed(what: str, group: str, evidence: str) -> ProviderFailed:
    return ProviderFailed(
        what,
        where=f"machine {group.rpartition('/')[2]}",
        evidence=evidence or "it printed nothing",
        remedy=(
            "destroy the machine and create it again; if that does not help, this computer cannot run systemd machines"
        ),
        code="local.start",
    )


def _tail(log: Path, lines: int = 5) -> str:
    try:
        return " | ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _journal(cgroups: Cgroups, group: str, lines: int = 8) -> str:
    init = find_init(cgroups, group)
    if init is None:
        return ""
    inside = ("nsenter", f"--target={init}", "--mount", "--pid", "--uts", "--ipc")
    said = _process.run(
        (*inside, "journalctl", "--no-pager", "--output=cat", f"--lines={lines}"), timeout_seconds=10, check=False
    )
    return " | ".join(said.stdout.strip().splitlines())
