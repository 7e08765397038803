"""What is still there of a set of machines. After `destroy` the answer must be: nothing."""

from __future__ import annotations

import re
from pathlib import Path

from productive_k3s_infra import _process
from productive_k3s_infra.providers.local import firewall, network
from productive_k3s_infra.providers.local.cgroup import Cgroups, detect, group_name
from productive_k3s_infra.providers.local.store import DEFAULT_ROOT, SetFolder


def leftovers(set_name: str, *, root: Path = DEFAULT_ROOT, cgroups: Cgroups | None = None) -> tuple[str, ...]:
    """List processes, mounts, loop devices, interfaces, rules, control groups and files of a set, with their kind."""
    folder = SetFolder(root, set_name)
    cgroups = cgroups or detect()
    group = group_name(folder.path)
    return (
        *(f"process {pid}" for pid in sorted({*cgroups.processes(group), *supervisors_of(folder.path)})),
        *(f"mount {place}" for place in mounts_below(folder.path)),
        *(f"loop device {device}" for device in _loop_devices(folder.path)),
        *(f"interface {name}" for name in network.links_of(folder.path)),
        *(f"firewall rule {rule}" for rule in firewall.rules_of(folder.path)),
        *(f"control group {path}" for path in cgroups.remains(group)),
        *(f"folder {path}" for path in (folder.path,) if path.exists()),
    )


def parse_mounts_below(mountinfo: str, folder: Path) -> tuple[Path, ...]:
    """Read the mounts in a folder from proc_pid_mountinfo(5), the innermost first."""
    places = (Path(_unescape(line.split()[4])) for line in mountinfo.splitlines())
    return tuple(sorted({place for place in places if place.is_relative_to(folder)}, reverse=True))


def mounts_below(folder: Path) -> tuple[Path, ...]:
    """List the mounts in a folder, the innermost first."""
    return parse_mounts_below(Path("/proc/self/mountinfo").read_text(), folder)


def supervisors_of(folder: Path) -> tuple[int, ...]:
    """List the systemd-nspawn processes whose machine lies in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # ended in between
        if words[0].endswith(b"systemd-nspawn") and any(
            word.startswith(f"--directory={folder}/".encode()) for word in words
        ):
            found.append(int(process.name))
    return tuple(found)


def _loop_devices(folder: Path) -> tuple[str, ...]:
    listed = _process.run(("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"), check=False).stdout
    rows = (line.split(None, 1) for line in listed.splitlines())
    return tuple(row[0] for row in rows if len(row) == 2 and row[1].startswith(f"{folder}/"))


def _unescape(path: str) -> str:
    # proc_pid_mountinfo(5): space, tab, newline and backslash are written as octal numbers.
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
