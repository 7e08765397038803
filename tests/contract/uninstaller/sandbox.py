"""A host of the test's own, in namespaces of mounts, processes and network: what is uninstalled there is nobody else's.

Run as `unshare --mount --pid --net --fork --mount-proc python -m contract.uninstaller.sandbox WAY CASE`: lays a K3s
there, takes it off by the script or by the program, and prints what is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from productive_k3s.contract.facts import ClusterFacts
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.local import LocalSystem
from productive_k3s.k3s import paths
from productive_k3s.k3s.token import ca_hash
from productive_k3s.plan import render
from productive_k3s.verbs import uninstall

# All that a K3s can have left lies below these; each is a new file system here.
PLACES = ("/etc/rancher", "/var/lib", "/var/log", "/run", "/srv", "/usr/local/sbin", "/usr/local/bin", "/etc/systemd")
_DATA = f"{paths.DATA}/data/0a1b"
_CA = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
_FILES = {
    paths.BINARY: "",
    paths.CONFIG: "node-name: node-1\n",
    "/etc/rancher/node/password": "secret",
    paths.unit_file("k3s"): "[Service]\nExecStart=/usr/local/bin/k3s server\n",
    paths.environment_file("k3s"): "",
    f"{paths.DATA}/server/db/etcd/member/wal": "the datastore",
    f"{paths.DATA}/server/token": "K10...",
    f"{paths.DATA}/server/tls/server-ca.crt": _CA.decode(),
    f"{paths.DATA}/agent/.hidden/..twice/file": "",
    "/var/lib/kubelet/pods/1/volumes/empty/file": "",
    "/var/lib/cni/networks/cbr0/10.42.0.2": "",
    "/run/k3s/containerd/containerd.sock.ttrpc": "",
    "/run/flannel/subnet.env": "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\n",
    "/run/containerd/runc/k8s.io/1/state.json": "",
    "/run/nri/nri.sock": "",
    "/run/productive-k3s/k3s.json": "{}",
    "/var/log/pods/1/0.log": "",
    "/var/lib/other/kept": "somebody else's",
    "/usr/local/bin/kept": "somebody else's",
}
# Only K3s' own iptables is on this host, as on one without the packages.
_PROGRAMS = {
    "/usr/local/sbin/systemctl": (
        'if [ "$1" = show ]; then printf "Id=k3s.service\\nLoadState=loaded\\nActiveState=inactive\\n"; '
        'else echo "systemctl $*" >>/srv/told; fi'
    ),
    "/usr/local/sbin/ip": (
        'case "$*" in *delete*) echo "ip $*" >>/srv/told ;; esac; [ "$*" != "-4 route show root 10.42.0.0/16" ] || '
        'printf "10.42.0.0/24 dev cni0 scope link\\n10.42.1.0/24 via 10.0.0.12 dev eth0\\n"'
    ),
    f"{_DATA}/bin/aux/iptables-save": (
        'printf "*filter\\n-A INPUT -j DROP\\n-A KUBE-X -j CNI-1\\n-A F -j FLANNEL\\nCOMMIT\\n"'
    ),
    f"{_DATA}/bin/aux/iptables-restore": "cat >/srv/rules",
}
# What the test's own programs write, and umount(8).
_OF_THE_TEST = ("/usr/local/sbin/", "/srv/told", "/srv/rules", "/run/mount/")
_ON_A_DISK = ("server", "agent/containerd", "data")
_BEHIND_LINKS = (
    "server/cred/node-passwd",
    "agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/etc/passwd",
    "storage/pvc-1/data",
)
_STAYS_MOUNTED = f"{paths.DATA}/storage/on another disk"
_OF_A_POD = "/var/lib/kubelet/pods/1/volumes/secret"


def lay(case: str) -> None:
    """Make the host, and K3s on it."""
    for place in PLACES:
        if Path(place).is_dir():
            _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    if case == "behind-links":
        for path, disk in ((paths.DATA, "/srv/disk/k3s"), ("/var/lib/kubelet", "/srv/disk/kubelet")):
            Path(disk).mkdir(parents=True)
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).symlink_to(disk)
    if case == "links-inside":
        _lay_links_inside()
    for path, text in _FILES.items():
        _write(path, text, 0o644)
    for path, line in _PROGRAMS.items():
        _write(path, f"#!/bin/sh\n{line}\n", 0o755)
    for name in ("kubectl", "crictl"):
        Path(f"/usr/local/bin/{name}").symlink_to("k3s")
    Path("/usr/local/bin/ctr").symlink_to("/opt/theirs/ctr")
    _write(paths.KILLALL, render.script("k3s-killall.sh", "k3s"), 0o755)
    _write(paths.uninstall_script("k3s"), render.script("k3s-uninstall.sh", "k3s"), 0o755)
    for point in (_STAYS_MOUNTED, _OF_A_POD):
        Path(point).mkdir(parents=True)
        _run("mount", "-t", "tmpfs", "tmpfs", point)
        _write(f"{point}/file", "", 0o644)
    if case == "another-service":
        _write("/etc/systemd/system/k3s-other.service", "[Service]\n", 0o644)


def _lay_links_inside() -> None:
    """Put folders of the data directory on another disk."""
    for name in (*_ON_A_DISK, "storage"):
        Path(f"{paths.DATA}/{name}").parent.mkdir(parents=True, exist_ok=True)
        Path(f"/srv/disk/{name}").mkdir(parents=True)
        Path(f"{paths.DATA}/{name}").symlink_to(f"/srv/disk/{name}")
    for name in _BEHIND_LINKS:
        _write(f"{paths.DATA}/{name}", "", 0o644)
    # An image's file system is full of links that mean the container's own root.
    Path(f"{paths.DATA}/{_BEHIND_LINKS[1]}").with_name("theirs").symlink_to("/var/lib/other")


def _write(path: str, text: str, mode: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    Path(path).chmod(mode)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def containers() -> dict[str, subprocess.Popen[bytes]]:
    """Start a shim with what descends from it, and a process that only looks like one."""
    shim = f"{_DATA}/bin/containerd-shim-runc-v2"
    # A file of that name need not be there: what counts is what the process calls itself.
    return {
        "shim": subprocess.Popen([shim, "-c", "sleep 600 & wait"], executable="/bin/sh"),
        "other": subprocess.Popen(["/opt/containerd-shim", "600"], executable="/bin/sleep"),
    }


class _Api:
    async def cluster(self) -> ClusterFacts:
        return ClusterFacts(False, "refused")


def take_off(way: str) -> list[str]:
    """Uninstall by `script` or by `program`; return the failures."""
    if way == "script":
        done = subprocess.run([paths.uninstall_script("k3s")], check=False, capture_output=True, text=True)
        return [] if done.returncode == 0 else [done.stderr]
    host = Host(LocalSystem(), lambda _: _Api(), lambda *_: None)  # type: ignore[arg-type,return-value]
    result = run_to_end(uninstall.run(host, cluster=ca_hash(_CA), yes=True, force=True))
    return [f"{failure.code}: {failure.what}: {failure.evidence}" for failure in result.failures]


def left() -> list[str]:
    """Return all that lies in the places, folders with a slash at their end."""
    found = []
    for place in PLACES:
        for folder, folders, files in os.walk(place):
            found.extend(f"{folder}/{name}" for name in files)
            found.extend(f"{folder}/{name}{'' if Path(folder, name).is_symlink() else '/'}" for name in folders)
    return sorted(item for item in found if not item.startswith(_OF_THE_TEST))


def main(way: str, case: str) -> None:
    """Lay it, take it off, and say what is left."""
    lay(case)
    before = left()
    processes = containers()
    failures = take_off(way)
    alive = [name for name, process in processes.items() if process.poll() is None]
    sleeping = [item for item in Path("/proc").iterdir() if _command(item) == b"sleep\x00600\x00"]
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    document = {
        "before": before,
        "left": left(),
        "failures": failures,
        "alive": alive,
        "descendants": len(sleeping),
        "mounted": [point for point in mounted if point.startswith(("/var/lib/rancher", "/var/lib/kubelet", "/srv/"))],
        "told": Path("/srv/told").read_text().splitlines(),
        "rules": Path("/srv/rules").read_text() if Path("/srv/rules").exists() else "",
    }
    print(json.dumps(document))


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    main(*sys.argv[1:])
