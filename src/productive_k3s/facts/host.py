"""The machine without K3s: from the kernel's own files, so that it costs next to nothing."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
import sys
from typing import Dict, List, Mapping, Optional, Tuple

from productive_k3s.contract.facts import FileSystem, HostFacts, OperatingSystem
from productive_k3s.doors.system import Reading
from productive_k3s.facts import network
from productive_k3s.facts.apparmor import apparmor
from productive_k3s.facts.hosts import hosts_files
from productive_k3s.facts.mounts import is_no_exec
from productive_k3s.facts.resolver import nameservers
from productive_k3s.facts.units import UnitTable
from productive_k3s.k3s import paths
from productive_k3s.k3s.release import MACHINES

_FILE_SYSTEMS = ("/var/lib/rancher", paths.BINARY_DIRECTORY, "/etc")
_KUBELETS = ("kubelet", "kubelite")
_CLOUD_INIT = "/run/cloud-init"
_ERROR_LENGTH = 200


async def host_facts(system: Reading, table: UnitTable) -> HostFacts:
    """Return what is true of the machine."""
    now = await system.now()
    memory = parse_meminfo(await text_of(system, "/proc/meminfo"))
    version, controllers = await _cgroups(system)
    default_interface, routes = await network.routes(system)
    cloud_init, cloud_init_error = await _cloud_init(system)
    os = await _operating_system(system)
    return HostFacts(
        time=now,
        hostname=(await text_of(system, "/proc/sys/kernel/hostname")).strip(),
        machine_id=(await text_of(system, "/etc/machine-id")).strip(),
        os=os,
        python=".".join(map(str, sys.version_info[:3])),
        init=(await text_of(system, "/proc/1/comm")).strip(),
        cpus=await _cpus(system),
        memory_bytes=memory.get("MemTotal", 0),
        swap_bytes=memory.get("SwapTotal", 0),
        cgroup_version=version,
        cgroup_controllers=controllers,
        interfaces=await network.interfaces(system),
        default_interface=default_interface,
        routes=routes,
        listeners=await network.listeners(system),
        file_systems=await _file_systems(system),
        active_firewalls=await _firewalls(system, table),
        other_kubernetes=await _other_kubernetes(system, table),
        has_xtables=await _has_xtables(system),
        selinux=await _selinux(system),
        cloud_init=cloud_init,
        cloud_init_error=cloud_init_error,
        hosts_files=await hosts_files(system, os.id),
        apparmor=await apparmor(system),
        nameservers=await nameservers(system),
    )


async def text_of(system: Reading, path: str) -> str:
    """Return a file's text, '' if there is none."""
    return (await system.read(path) or b"").decode(errors="replace")


async def _operating_system(system: Reading) -> OperatingSystem:
    release = parse_os_release(await text_of(system, "/etc/os-release") or await text_of(system, "/usr/lib/os-release"))
    machine = (await text_of(system, "/proc/sys/kernel/arch")).strip()
    if not machine:
        machine = (await system.ask("architecture")).stdout.strip()
    return OperatingSystem(
        id=release.get("ID", ""),
        version_id=release.get("VERSION_ID", ""),
        pretty_name=release.get("PRETTY_NAME", ""),
        kernel=(await text_of(system, "/proc/sys/kernel/osrelease")).strip(),
        arch=MACHINES.get(machine, machine),
    )


def parse_os_release(text: str) -> Dict[str, str]:
    """PURE: read os-release, whose values are quoted as a shell quotes (os-release(5))."""
    found: Dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith("#"):
            continue
        try:
            found[key] = "".join(shlex.split(value)[:1])
        except ValueError:
            found[key] = value
    return found


def parse_meminfo(text: str) -> Dict[str, int]:
    """PURE: return /proc/meminfo in bytes."""
    found: Dict[str, int] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[key] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


async def _cpus(system: Reading) -> int:
    return count_cpus(await text_of(system, "/sys/devices/system/cpu/online")) or (
        len(re.findall(r"(?m)^processor\s*:", await text_of(system, "/proc/cpuinfo")))
    )


def count_cpus(online: str) -> int:
    """PURE: count the processors in a list like `0-3,5`."""
    total = 0
    for part in online.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            total += int(last or first) - int(first) + 1
    return total


async def _cgroups(system: Reading) -> Tuple[int, Tuple[str, ...]]:
    unified = await system.read("/sys/fs/cgroup/cgroup.controllers")
    if unified is not None:
        return 2, tuple(sorted(unified.decode(errors="replace").split()))
    return 1, parse_cgroups(await text_of(system, "/proc/cgroups"))


def parse_cgroups(text: str) -> Tuple[str, ...]:
    """PURE: return the enabled controllers of /proc/cgroups."""
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return tuple(sorted(row[0] for row in rows if len(row) == 4 and row[3] == "1"))


async def _file_systems(system: Reading) -> Tuple[FileSystem, ...]:
    mountinfo = await text_of(system, "/proc/self/mountinfo")
    mounts = parse_mounts(mountinfo)
    found: List[FileSystem] = []
    for path in _FILE_SYSTEMS:
        there = path
        while there != "/" and await system.stat(there) is None:
            there = posixpath.dirname(there)
        space = await system.space(there)
        if space is not None:
            kind = mount_of(there, mounts)
            found.append(
                FileSystem(
                    path, kind, space.free_bytes, space.total_bytes, space.read_only, is_no_exec(there, mountinfo)
                )
            )
    return tuple(found)


def parse_mounts(mountinfo: str) -> Dict[str, str]:
    """PURE: return mount point -> file system type of /proc/self/mountinfo; what is mounted last covers the rest."""
    found: Dict[str, str] = {}
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        words = before.split()
        if separator and len(words) > 4:
            point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), words[4])
            found[point] = after.split()[0]
    return found


def mount_of(path: str, mounts: Mapping[str, str]) -> str:
    """PURE: return the type of the file system that holds a path."""
    while path not in mounts and path != "/":
        path = posixpath.dirname(path)
    return mounts.get(path, "")


async def _firewalls(system: Reading, table: UnitTable) -> Tuple[str, ...]:
    found = []
    # The unit of ufw is active on every Ubuntu; this file says whether it filters.
    if re.search(r"(?mi)^\s*ENABLED\s*=\s*[\"']?yes", await text_of(system, "/etc/ufw/ufw.conf")):
        found.append("ufw")
    if table.is_active("firewalld"):
        found.append("firewalld")
    return tuple(found)


async def _other_kubernetes(system: Reading, table: UnitTable) -> Tuple[str, ...]:
    found = [name for name in table.others if table.is_wanted(name)]
    names = await system.list_directory(paths.SYSTEMD_DIRECTORY)
    # The install script names further services of K3s so (INSTALL_K3S_NAME).
    further = [name[: -len(".service")] for name in names if re.match(r"^k3s-.+\.service$", name)]
    found.extend(name for name in further if name != "k3s-agent")
    if await system.stat("/etc/kubernetes/kubelet.conf") is not None and "kubelet" not in found:
        found.append("kubeadm")
    if not found and not table.is_active("k3s") and not table.is_active("k3s-agent"):
        found.extend(await _running_kubelets(system))
    return tuple(found)


async def _running_kubelets(system: Reading) -> Tuple[str, ...]:
    """Look for a kubelet of this host; those of containers and machines have mount name spaces of their own."""
    ours = await system.stat("/proc/self/ns/mnt")
    for pid in await system.list_directory("/proc"):
        if not pid.isdigit():
            continue
        name = (await text_of(system, f"/proc/{pid}/comm")).strip()
        if name in _KUBELETS:
            theirs = await system.stat(f"/proc/{pid}/ns/mnt")
            if ours is not None and theirs is not None and theirs.link == ours.link:
                return (name,)
    return ()


async def _has_xtables(system: Reading) -> bool:
    """Whether the kernel can match as iptables does, which kube-proxy and flannel need; unknown counts as yes."""
    for path in ("/sys/module/x_tables", "/proc/net/ip_tables_names"):
        if await system.stat(path) is not None:
            return True
    kernel = (await text_of(system, "/proc/sys/kernel/osrelease")).strip()
    listed: Optional[bytes] = None
    for name in ("modules.builtin", "modules.dep"):
        listed = await system.read(f"/lib/modules/{kernel}/{name}")
        if listed is not None and b"/x_tables.ko" in listed:
            return True
    return listed is None


async def _selinux(system: Reading) -> str:
    enforce = (await text_of(system, "/sys/fs/selinux/enforce")).strip()
    return {"1": "enforcing", "0": "permissive"}.get(enforce, "")


async def _cloud_init(system: Reading) -> Tuple[str, str]:
    """Return how far cloud-init came at this boot, and its first error.

    `/run` is empty at boot. Its generator then writes `enabled` or `disabled` there, and the last stage `result.json`
    when it has ended (docs.cloud-init.io: "How to check the status", boot stages).
    """
    result = await system.read(f"{_CLOUD_INIT}/result.json")
    if result is not None:
        return parse_cloud_init_result(result.decode(errors="replace"))
    for name in ("enabled", "status.json"):
        if await system.stat(f"{_CLOUD_INIT}/{name}") is not None:
            return "running", ""
    return "", ""


def parse_cloud_init_result(text: str) -> Tuple[str, str]:
    """PURE: read result.json: `{"v1": {"datasource": ..., "errors": [...]}}`; half-written, it has not ended."""
    try:
        errors = json.loads(text)["v1"]["errors"]
    except (ValueError, KeyError, TypeError):
        return "running", ""
    return ("error", " ".join(str(errors[0]).split())[:_ERROR_LENGTH]) if errors else ("done", "")
