"""PURE: is this a system that K3s and the host program can run on? One small judgement per question."""

from __future__ import annotations

import re
from collections.abc import Iterator

from productive_k3s.contract.facts import Facts
from productive_k3s.plan.vetoes import allows_cgroup_v1
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.preflight.rule import Finding, PreflightContext, gigabytes

LISTED_SYSTEMS = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04", "26.04")}
ARCHITECTURES = ("amd64", "arm64", "arm")
OLDEST_PYTHON = (3, 9)
# The kernel keeps some of a machine's memory for itself, so a machine sold with 2 GB shows a little less.
_SHOWN = 0.93
LEAST_MEMORY_BYTES = {"server": (1.0e9, 2.0e9), "agent": (256e6, 512e6)}
LEAST_CPUS = {"server": 2, "agent": 1}
DISK = "/var/lib/rancher"
LEAST_DISK_BYTES = (1e9, 5e9)
# K3s (pkg/cgroups) refuses to start without the first ones, the kubelet without `pids`.
_CONTROLLERS = {1: ("memory", "pids"), 2: ("cpu", "cpuset", "memory", "pids")}
_NO_CGROUP_V1 = 35


def judge_init(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    init = facts.host.init
    yield Finding(host.name, init == "systemd", f"PID 1 is {init or 'unknown'}")


def judge_os(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    system = facts.host.os
    listed = system.version_id in LISTED_SYSTEMS.get(system.id, ())
    name = system.pretty_name or f"{system.id} {system.version_id}".strip() or "unknown"
    yield Finding(
        host.name,
        listed,
        name if listed else f"{name} is not listed",
        f"{system.id} {system.version_id}, {facts.host.os.kernel}",
    )


def judge_architecture(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    arch = facts.host.os.arch
    known = arch in ARCHITECTURES
    yield Finding(host.name, known, arch if known else f"K3s has no release for {arch or 'this machine'}", arch)


def judge_python(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    found = tuple(int(part) for part in re.findall(r"\d+", facts.host.python)[:2])
    yield Finding(host.name, found >= OLDEST_PYTHON, f"Python {facts.host.python or 'of an unknown version'}")


def judge_memory(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    size = facts.host.memory_bytes
    least, wanted = LEAST_MEMORY_BYTES[host.role]
    enough = size >= wanted * _SHOWN
    message = gigabytes(size) if enough else f"{gigabytes(size)}, below {gigabytes(wanted)} for K3s' {host.role}"
    yield Finding(host.name, enough, message, severity="error" if size < least * _SHOWN else "warning")


def judge_cpus(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    wanted, found = LEAST_CPUS[host.role], facts.host.cpus
    message = f"{found} CPUs" if found >= wanted else f"{found} CPUs, below {wanted} for K3s' {host.role}"
    yield Finding(host.name, found >= wanted, message)


def judge_disk(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    system = next((item for item in facts.host.file_systems if item.path == DISK), None)
    if system is None:
        yield Finding(host.name, False, f"free space of {DISK} is not known", severity="warning")
        return
    least, wanted = LEAST_DISK_BYTES
    installed = facts.k3s.role is not None
    # What a node that runs has taken up is taken already: there it is only a matter of what is left.
    enough = system.free_bytes >= (least if installed else wanted)
    yield Finding(
        host.name,
        enough,
        f"{gigabytes(system.free_bytes)} free for {DISK}",
        f"{system.type}, {gigabytes(system.total_bytes)} in all",
        severity="error" if system.free_bytes < least and not installed else "warning",
    )


def judge_read_only(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    locked = [item for item in facts.host.file_systems if item.read_only]
    names = ", ".join(item.path for item in locked)
    yield Finding(
        host.name,
        not locked,
        f"read-only: {names}" if locked else "can be written",
        ", ".join(f"{item.path} {item.type}" for item in locked),
    )


def judge_cgroup_version(look: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    version = facts.host.cgroup_version
    allowed = allows_cgroup_v1(look.flag_of(host, "kubelet-arg"), facts)
    refused = version == 1 and look.minor is not None and look.minor >= _NO_CGROUP_V1 and not allowed
    message = f"cgroup v{version}"
    if refused:
        message = f"the kubelet of {look.spec.k3s.version} refuses cgroup v1"
    elif version == 1 and not allowed:
        message = f"cgroup v1, which Kubernetes refuses from 1.{_NO_CGROUP_V1} on"
    yield Finding(host.name, not refused, message, "/sys/fs/cgroup is not cgroup2fs" if version == 1 else "")


def judge_cgroup_controllers(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    found = facts.host.cgroup_controllers
    missing = [name for name in _CONTROLLERS.get(facts.host.cgroup_version, ()) if name not in found]
    message = f"controllers are missing: {', '.join(missing)}" if missing else "the required controllers are available"
    yield Finding(host.name, not missing, message, ", ".join(found) or "none")


def judge_xtables(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    there = facts.host.has_xtables
    message = "the kernel has x_tables" if there else "the kernel has no x_tables"
    yield Finding(host.name, there, message, facts.host.os.kernel)


def judge_swap(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    swap = facts.host.swap_bytes
    yield Finding(host.name, not swap, f"{gigabytes(swap)} of swap are in use by the system" if swap else "no swap")


def judge_selinux(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    enforcing = facts.host.selinux.lower() == "enforcing"
    yield Finding(host.name, not enforcing, f"SELinux is {facts.host.selinux or 'not available'}")


def judge_other_kubernetes(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    others = facts.host.other_kubernetes
    yield Finding(
        host.name,
        not others,
        f"another Kubernetes is installed: {', '.join(others)}" if others else "no other Kubernetes",
        ", ".join(others),
        severity="warning" if facts.k3s.role is not None else "error",
    )
