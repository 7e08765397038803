"""The file system of one machine: the image below, what the machine writes above, and what makes it this machine."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

from productive_k3s_infra import _process
from productive_k3s_infra.errors import ProcessFailed, ProviderFailed
from productive_k3s_infra.providers.local.model import MachineRecord, MachineRequest, SetRecord
from productive_k3s_infra.providers.local.store import MachineFolder, write_atomically

# What the mounts of machines are called in the table of mounts, whatever root they are under.
MOUNT_SOURCE = "pk3s-machine"
_BUSY_SECONDS = 10
_POLL_SECONDS = 0.05
_HOSTS_BEGIN = "# machines of this set: begin"
_HOSTS_END = "# machines of this set: end"


def render_network(record: SetRecord, machine: MachineRecord) -> str:
    """Render the systemd.network(5) file of a machine; host0 is what systemd-nspawn calls its interface."""
    return f"""\
[Match]
Name=host0

[Network]
Address={record.address(machine)}/{record.network.prefixlen}
Gateway={record.gateway}
DHCP=no
IPv6AcceptRA=no
"""


def render_sshd(request: MachineRequest) -> str:
    """Render the sshd_config(5) part of a machine: one host key, the one that is known, and keys only."""
    return f"""\
Port {request.ssh_port}
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
"""


def render_hosts(before: str, record: SetRecord, own: MachineRecord) -> str:
    """Render /etc/hosts with the names of the set in a block of their own; lines outside it are kept."""
    kept: list[str] = []
    inside = False
    for line in before.splitlines():
        inside = inside or line == _HOSTS_BEGIN
        if not inside:
            kept.append(line)
        inside = inside and line != _HOSTS_END
    if not before:
        kept = ["127.0.0.1 localhost", f"127.0.1.1 {own.request.name}", "::1 localhost ip6-localhost ip6-loopback"]
    names = [f"{record.address(machine)} {machine.request.name}" for machine in record.machines]
    return "\n".join((*kept, _HOSTS_BEGIN, *names, _HOSTS_END, ""))


def prepare(record: SetRecord, machine: MachineRecord, folder: MachineFolder, authorized_key: str) -> None:
    """Make a machine's files from nothing, and mark them complete. Whatever a cut-off attempt left is removed first."""
    remove_files(folder)
    folder.path.mkdir(mode=0o700, parents=True)
    folder.data.mkdir()
    folder.root.mkdir()
    if machine.request.disk_bytes is not None:
        _make_disk(folder, machine.request.disk_bytes)
    ensure_mounted(machine, folder)
    _make_host_key(folder, f"root@{machine.request.name}")
    _personalise(record, machine, folder, authorized_key)
    os.sync()
    write_atomically(folder.prepared, "")


def ensure_mounted(machine: MachineRecord, folder: MachineFolder) -> None:
    """Mount the root file system of a machine that does not run."""
    if machine.request.disk_bytes is not None and not folder.data.is_mount():
        _process.run(("mount", "-o", "loop", str(folder.disk), str(folder.data)))
    for place in (folder.upper, folder.work, folder.rancher):
        place.mkdir(mode=0o755, exist_ok=True)
    if folder.root.is_mount():
        return
    options = f"lowerdir={machine.image},upperdir={folder.upper},workdir={folder.work}"
    try:
        _process.run(("mount", "-t", "overlay", MOUNT_SOURCE, "-o", options, str(folder.root)))
    except ProcessFailed as error:
        raise ProviderFailed(
            "the file system of a machine could not be mounted",
            where=f"machine {machine.request.name}",
            evidence=error.evidence,
            remedy=f"{folder.path} must be where overlayfs can write (ext4, xfs), and {machine.image} must exist",
            code="local.mount",
        ) from error


def unmount(folder: MachineFolder) -> None:
    """Unmount what a machine had mounted; loop devices go with their mounts."""
    for place in (folder.root, folder.data):
        deadline = time.monotonic() + _BUSY_SECONDS
        while place.is_mount():
            done = _process.run(("umount", str(place)), check=False)
            if done.exit_code == 0:
                continue
            # The machine's own mount namespace may outlive its last process for a moment.
            if time.monotonic() > deadline:
                raise ProviderFailed(
                    "a machine's file system is still in use",
                    where=str(place),
                    evidence=done.stderr.strip(),
                    remedy="leave that folder, and stop what uses it (fuser -vm)",
                    code="local.mount-busy",
                )
            time.sleep(_POLL_SECONDS)


def remove_files(folder: MachineFolder) -> None:
    """Remove all files of a machine that does not run; its disk with everything on it."""
    # The mark first: what is removed in part must never be taken for a whole machine.
    folder.prepared.unlink(missing_ok=True)
    unmount(folder)
    if folder.path.exists():
        shutil.rmtree(folder.path)


def write_hosts(record: SetRecord, machine: MachineRecord, folder: MachineFolder) -> None:
    """Bring the names of the set up to date in one machine's /etc/hosts; it may be running."""
    hosts = folder.root / "etc/hosts"
    before = hosts.read_text() if hosts.exists() else ""
    after = render_hosts(before, record, machine)
    if after == before:
        return
    try:
        write_atomically(hosts, after, 0o644)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC):
            raise
        # A machine that was asked to be read-only or has a full disk keeps the names it had.


def _make_disk(folder: MachineFolder, size: int) -> None:
    with folder.disk.open("wb") as stream:
        stream.truncate(size)
    # -m 0: nothing is kept back for root, who is the one to be told that the disk is full.
    _process.run(("mkfs.ext4", "-q", "-F", "-m", "0", str(folder.disk)))


def _make_host_key(folder: MachineFolder, comment: str) -> None:
    _process.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(folder.host_key)))


def _personalise(record: SetRecord, machine: MachineRecord, folder: MachineFolder, authorized_key: str) -> None:
    request, root = machine.request, folder.root
    _write(root / "etc/machine-id", machine.machine_id + "\n", 0o444)
    _write(root / "etc/hostname", request.name + "\n")
    _write(root / "etc/systemd/network/10-host0.network", render_network(record, machine))
    _write(root / "etc/ssh/ssh_host_ed25519_key", folder.host_key.read_text(), 0o600)
    _write(root / "etc/ssh/ssh_host_ed25519_key.pub", folder.public_host_key.read_text())
    _write(root / "etc/ssh/sshd_config.d/10-machine.conf", render_sshd(request))
    write_hosts(record, machine, folder)
    _authorize(root / "root", authorized_key, 0, 0)
    if request.extra_user is not None:
        _add_user(root, request.extra_user, authorized_key)
    if request.sudoers is not None:
        _write(root / "etc/sudoers.d/10-machine", f"{request.extra_user} {request.sudoers}\n", 0o440)
    if request.read_only:
        _write(root / "etc/machine-setup-read-only", "")


def _add_user(root: Path, user: str, authorized_key: str) -> None:
    _process.run(("chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", user))
    home = root / "home" / user
    _authorize(home, authorized_key, home.stat().st_uid, home.stat().st_gid)


def _authorize(home: Path, key: str, uid: int, gid: int) -> None:
    folder = home / ".ssh"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    _write(folder / "authorized_keys", key.strip() + "\n", 0o600)
    for path in (folder, folder / "authorized_keys"):
        os.chown(path, uid, gid)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)
