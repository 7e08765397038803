"""The root file system that all machines start from: Debian 12, built once, kept by the content of its recipe."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from productive_k3s_infra import _process
from productive_k3s_infra.errors import ProcessFailed, ProviderFailed
from productive_k3s_infra.providers.local.lock import hold

DEFAULT_CACHE = Path("/var/cache/productive-k3s/images")
BUILD_SECONDS = 1800
_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}

# nspawn mounts the cgroup controllers and /proc/sys read-only; a kubelet writes to both. A plain remount is refused
# (busy), a bind remount is not. /sys stays read-only: with it writable systemd-networkd waits for udev for ever.
# Pods' mounts must reach the kubelet, hence the shared root.
_MOUNTS_SCRIPT = """\
#!/bin/sh
for place in /sys/fs/cgroup /sys/fs/cgroup/* /proc/sys; do
    if mountpoint -q "$place"; then mount -o remount,bind,rw "$place" || exit 1; fi
done
mount --make-rshared /
"""
_MOUNTS_UNIT = """\
[Unit]
Description=Mounts that a kubelet needs writable and shared
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/machine-setup/mounts

[Install]
WantedBy=sysinit.target
"""
_READ_ONLY_UNIT = """\
[Unit]
Description=Make every file system read-only, for tests
ConditionPathExists=/etc/machine-setup-read-only
After=local-fs.target systemd-journal-flush.service
Before=ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
# The journal holds a file open for writing, which a read-only mount would be refused for.
ExecStart=/bin/journalctl --relinquish-var
ExecStart=/bin/mount -o remount,bind,ro /var/lib/rancher
ExecStart=/bin/mount -o remount,bind,ro /

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Recipe:
    """Everything the image is made of. Another content is another image beside the first."""

    suite: str = "bookworm"
    packages: tuple[str, ...] = (
        *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "iproute2", "iptables", "procps", "sudo"),
        *("curl", "ca-certificates", "kmod", "conntrack", "socat", "ipset", "ethtool", "openssl", "util-linux"),
    )
    files: tuple[tuple[str, int, str], ...] = (
        ("usr/lib/machine-setup/mounts", 0o755, _MOUNTS_SCRIPT),
        ("etc/systemd/system/machine-mounts.service", 0o644, _MOUNTS_UNIT),
        ("etc/systemd/system/machine-read-only.service", 0o644, _READ_ONLY_UNIT),
        ("etc/machine-id", 0o444, ""),
    )
    enabled: tuple[str, ...] = ("machine-mounts.service", "machine-read-only.service", "systemd-networkd.service")
    # The kernel's settings are this computer's, hence no systemd-sysctl.
    masked: tuple[str, ...] = (
        "systemd-sysctl.service",
        *("systemd-networkd-wait-online.service", "console-getty.service", "apt-daily.timer"),
        *("apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    )
    # Keys and names are each machine's own. A resolv.conf would name this computer's resolver, out of their reach.
    removed: tuple[str, ...] = ("etc/ssh/ssh_host_*", "etc/hostname", "etc/resolv.conf", "etc/hosts")

    def digest(self) -> str:
        """Name the content: equal recipes, equal names."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def image_path(recipe: Recipe, cache: Path = DEFAULT_CACHE) -> Path:
    """Say where the image of this recipe lies, or will lie."""
    return cache / f"{recipe.suite}-{recipe.digest()}"


def require_programs() -> None:
    """Raise ProviderFailed naming the packages to install if this computer cannot make machines."""
    packages = sorted({package for program, package in _PROGRAMS.items() if shutil.which(program) is None})
    if packages:
        raise ProviderFailed(
            "machines cannot be created on this computer: programs are missing",
            evidence=f"not installed: {', '.join(packages)}",
            remedy=f"apt-get install --no-install-recommends {' '.join(packages)}",
            code="local.packages-missing",
        )


def ensure_image(
    *,
    cache: Path = DEFAULT_CACHE,
    recipe: Recipe | None = None,
    mirror: str | None = None,
    on_progress: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Return the image's folder, built first if it is not there; takes about 90 s then, and 450 MB.

    Two callers at once build it once. A build that is cut off leaves nothing that is taken for an image, and the next
    one removes what is left. `mirror` is where packages come from, otherwise mmdebstrap's own choice for the suite.
    """
    recipe = recipe or Recipe()
    target = image_path(recipe, cache)
    if target.is_dir():
        return target
    require_programs()
    cache.mkdir(parents=True, exist_ok=True)
    with hold(cache / ".lock", "the machine image", timeout_seconds=BUILD_SECONDS, on_wait=on_progress):
        if target.is_dir():
            return target
        _remove_cut_builds(cache)
        building = cache / f".building-{target.name}"
        on_progress(f"building the Debian image of the machines ({len(recipe.packages)} packages, about 90 s)")
        _bootstrap(recipe, building, mirror, on_progress)
        _finish(recipe, building)
        building.rename(target)
    on_progress(f"image ready: {target}")
    return target


def _remove_cut_builds(cache: Path) -> None:
    for left in cache.glob(".building-*"):
        shutil.rmtree(left)


def _bootstrap(recipe: Recipe, target: Path, mirror: str | None, on_progress: Callable[[str], None]) -> None:
    # In namespaces of its own, which die with this process: no mount and no process of a cut build is left.
    confined = (
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    )
    bootstrap = (
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--skip=output/dev"),
        f"--include={','.join(recipe.packages)}",
        *(recipe.suite, str(target)),
        *([mirror] if mirror else []),
    )
    try:
        _process.run_with_lines((*confined, *bootstrap), on_progress, timeout_seconds=BUILD_SECONDS)
    except ProcessFailed as error:
        raise ProviderFailed(
            "the image of the machines could not be built",
            where=recipe.suite,
            evidence=error.evidence,
            remedy="check that this computer can install Debian packages (apt-get update), then run it again",
            code="local.image",
        ) from error


def _finish(recipe: Recipe, root: Path) -> None:
    for pattern in recipe.removed:
        for path in root.glob(pattern):
            path.unlink()
    for name, mode, text in recipe.files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)
    _process.run(("systemctl", f"--root={root}", "enable", "--quiet", *recipe.enabled))
    _process.run(("systemctl", f"--root={root}", "mask", "--quiet", *recipe.masked))
    # The parents of the image are root's alone to write; the image itself must be readable by the machines' users.
    root.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    os.sync()
