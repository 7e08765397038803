"""A control group per machine, so that several kubelets on one computer do not fight over one tree.

Two ways, chosen by what this computer has (never by its name): where systemd manages a unified hierarchy, systemd makes
the group and delegates it (systemd: CGROUP_DELEGATION); otherwise the groups are made directly in every hierarchy.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from productive_k3s_infra import _process
from productive_k3s_infra.errors import ProviderFailed

_V1_CONTROLLERS = frozenset(
    {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "name=systemd"}
)
_POLL_SECONDS = 0.02
# systemd-nspawn(1), --keep-unit: ends with this code when the machine wants to be started again (reboot).
_REBOOT = 133
# Enters every group given before "--", then runs the program after it, again for each reboot.
_SUPERVISE = f"""\
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 70; shift; done
shift
while :; do "$@"; code=$?; [ $code = {_REBOOT} ] || exit $code; done
"""
_ENTER_SECONDS = 10


class Cgroups(Protocol):
    """How machines are started into groups of their own, found again, and cleaned up after."""

    def start(self, group: str, argv: Sequence[str], log: Path) -> None:
        """Start a machine's supervisor, detached, in the named group."""

    def processes(self, group: str) -> tuple[int, ...]:
        """List the processes in a group, those of its sub-groups too."""

    def remove(self, group: str) -> bool:
        """Remove a group and all below it, as far as no processes are there; say whether it is gone."""

    def remains(self, group: str) -> tuple[str, ...]:
        """List the folders of a group that are still there."""


def group_name(set_folder: Path, machine: str = "") -> str:
    """Name a set's group, or a machine's. Sets of the same name under other roots have other groups."""
    tag = hashlib.sha256(str(set_folder).encode()).hexdigest()[:6]
    return f"pk3s-{tag}-{set_folder.name}" + (f"/{machine}" if machine else "")


@dataclass(frozen=True)
class TreeCgroups:
    """Groups made directly in each hierarchy: cgroup v1, or v2 that nobody else manages."""

    hierarchies: tuple[Path, ...]

    def start(self, group: str, argv: Sequence[str], log: Path) -> None:
        folders = [self._make(hierarchy, group) for hierarchy in self.hierarchies]
        _process.start_detached(("sh", "-c", _SUPERVISE, "supervise", *map(str, folders), "--", *argv), log)
        # It is not there at once, and whoever looks before would take the machine for one that has ended.
        deadline = time.monotonic() + _ENTER_SECONDS
        while not self.processes(group):
            if time.monotonic() > deadline:
                raise ProviderFailed(
                    "the machine's supervisor did not start",
                    where=group,
                    evidence=log.read_text(errors="replace").strip() or "it printed nothing",
                    code="local.start",
                )
            time.sleep(_POLL_SECONDS)

    def processes(self, group: str) -> tuple[int, ...]:
        return tuple(sorted({pid for hierarchy in self.hierarchies for pid in _processes_below(hierarchy / group)}))

    def remove(self, group: str) -> bool:
        for hierarchy in self.hierarchies:
            _remove_tree(hierarchy / group)
        return not self.remains(group)

    def remains(self, group: str) -> tuple[str, ...]:
        return tuple(str(hierarchy / group) for hierarchy in self.hierarchies if (hierarchy / group).exists())

    def _make(self, hierarchy: Path, group: str) -> Path:
        folder = hierarchy
        for part in Path(group).parts:
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                # kernel, cgroup-v1/cpusets: an empty set of processors or memory lets no process in.
                if (folder / name).exists() and not (folder / name).read_text().strip() and (parent / name).exists():
                    (folder / name).write_text((parent / name).read_text())
        return folder


@dataclass(frozen=True)
class SystemdCgroups:
    """Transient services with a delegated group each: systemd with the unified hierarchy."""

    root: Path = Path("/sys/fs/cgroup")

    def start(self, group: str, argv: Sequence[str], log: Path) -> None:
        _process.run(("systemctl", "reset-failed", self._unit(group)), check=False)
        properties = ("Delegate=yes", "KillMode=mixed", "TasksMax=infinity", f"StandardOutput=append:{log}")
        reboot = (f"RestartForceExitStatus={_REBOOT}", f"SuccessExitStatus={_REBOOT}")
        _process.run(
            (
                *("systemd-run", "--quiet", "--collect", "--service-type=exec", "--slice=machine.slice"),
                *(f"--unit={self._unit(group)}", "--property=StandardError=inherit"),
                *(f"--property={one}" for one in (*properties, *reboot)),
                *("--", *argv),
            )
        )

    def processes(self, group: str) -> tuple[int, ...]:
        return _processes_below(self._folder(group))

    def remove(self, group: str) -> bool:
        for folder in self._folders(group):
            _remove_tree(folder)
        return not self.remains(group)

    def remains(self, group: str) -> tuple[str, ...]:
        return tuple(map(str, self._folders(group)))

    def _folders(self, group: str) -> tuple[Path, ...]:
        if "/" in group:
            return tuple(folder for folder in (self._folder(group),) if folder.exists())
        return tuple(sorted((self.root / "machine.slice").glob(f"{group}.*.service")))

    def _folder(self, group: str) -> Path:
        return self.root / "machine.slice" / self._unit(group)

    def _unit(self, group: str) -> str:
        # A dot cannot be part of a set's or a machine's name.
        return f"{group.replace('/', '.')}.service"


def parse_hierarchies(mountinfo: str) -> tuple[tuple[Path, ...], Path | None]:
    """Read from proc_pid_mountinfo(5) the cgroup v1 hierarchies a machine needs, and where v2 is mounted."""
    v1: list[Path] = []
    v2: Path | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        place, kind, options = Path(before.split()[4]), after.split()[0], after.split()[2]
        if kind == "cgroup2":
            v2 = v2 or place
        elif kind == "cgroup" and _V1_CONTROLLERS.intersection(options.split(",")) and place not in v1:
            v1.append(place)
    return tuple(v1), v2


def version(mountinfo: Path = Path("/proc/self/mountinfo")) -> int:
    """Return the version of control groups that K3s finds in a machine: with hierarchies of v1, that one."""
    try:
        v1, _ = parse_hierarchies(mountinfo.read_text())
    except OSError:
        return 2
    return 1 if v1 else 2


def detect() -> Cgroups:
    """Choose the way that fits this computer. Raises ProviderFailed when it has no control groups."""
    v1, v2 = parse_hierarchies(Path("/proc/self/mountinfo").read_text())
    if v1:
        # A v2 hierarchy beside them holds no controllers, but systemd-nspawn makes groups in it all the same.
        return TreeCgroups((*v1, v2) if v2 else v1)
    if v2 is not None and Path("/run/systemd/system").is_dir():
        return SystemdCgroups(v2)
    if v2 is not None:
        return TreeCgroups((v2,))
    raise ProviderFailed(
        "machines need control groups, and none are mounted on this computer",
        evidence="no cgroup file system in /proc/self/mountinfo",
        remedy="use a computer (or a virtual machine) that runs systemd",
        code="local.no-cgroups",
    )


def _processes_below(folder: Path) -> tuple[int, ...]:
    found: set[int] = set()
    for here, _folders, _files in os.walk(folder):
        try:
            found.update(int(line) for line in (Path(here) / "cgroup.procs").read_text().split())
        except OSError:
            continue  # the group ended between the look at its parent and now
    return tuple(sorted(found - {0}))


def _remove_tree(folder: Path) -> None:
    for here, _folders, _files in os.walk(folder, topdown=False):
        try:
            Path(here).rmdir()
        except OSError:
            continue  # gone already, or a process is in it: the caller looks what remains
