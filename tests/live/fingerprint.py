"""What a machine looked like: all that an installation of K3s could leave behind, nothing that moves by itself.

Runs on this computer, looks on the machine: one call of its Python, no file written there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from lab_bed import Bed, Machine

# Kernel settings that K3s, its kubelet and kube-proxy change and that upstream's uninstall script leaves, too: whoever
# forwards packets since then may depend on them. They are gone after a restart of the machine.
LEFT_BY_DESIGN = (
    "sysctl net.bridge.",
    "sysctl net.ipv4.conf.all.accept_redirects",  # the kernel changes it with ip_forward
    "sysctl net.ipv4.conf.all.forwarding",
    "sysctl net.ipv4.conf.all.route_localnet",
    "sysctl net.ipv4.conf.default.forwarding",
    "sysctl net.ipv4.conf.host0.forwarding",
    "sysctl net.ipv4.conf.lo.forwarding",
    "sysctl net.ipv4.ip_forward",
    "sysctl net.ipv6.conf.all.forwarding",
    "sysctl net.ipv6.conf.default.forwarding",
    "sysctl net.ipv6.conf.host0.forwarding",
    "sysctl net.ipv6.conf.lo.forwarding",
    "sysctl net.netfilter.nf_conntrack_",
    "unit network-online.target",  # pulled in by the unit, and reached
)
# What upstream's uninstall script leaves besides, and so ours; `uninstall` takes it too.
LEFT_BY_UPSTREAM = (
    "cgroup ",
    "file /etc/rancher",  # the node's password
    "file /run/containerd",
    "file /run/netns",
    "file /run/nri",  # containerd 2
    "file /var/log/containers",
    "file /var/log/pods",
    "route 10.42.",  # of the backend host-gw
)

_SCRIPT = r"""
import hashlib, json, os, re, stat, subprocess

found = {}
FOLDERS = ("/etc", "/usr/local", "/usr/lib/systemd", "/opt", "/root", "/home", "/var", "/run", "/tmp")
# What systemd, its journal and sessions write all the time, and what this test brought along.
MOVING = re.compile(
    r"^(/run/(systemd|log|user|udev|utmp|host|credentials|dbus|sshd|productive-k3s(/(lock|trial\.lock))?$)|/var/log/(journal|wtmp|lastlog|btmp)"
    r"|/var/lib/(systemd|dbus|private)|/var/tmp/systemd-|/tmp/systemd-|/root/(productive-k3s.pyz|release|given)|/var/cache"
    r"|/usr/share|/usr/lib/python3|/usr/lib/x86_64-linux-gnu|/root/\.(ssh|cache|kube))"
)
# The file by which the lab allows cgroup v1, and its folders: it goes with K3s' data.
OF_THE_LAB = re.compile(r"^/var/lib/rancher/k3s(/agent(/etc(/kubelet\.conf\.d(/50-cgroup-v1\.conf)?)?)?)?$")

def look(path):
    if MOVING.match(path):
        return
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    text = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        text += " -> " + os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        try:
            with open(path, "rb") as file:
                text += " " + hashlib.sha256(file.read()).hexdigest()[:16]
        except OSError as error:
            text += " " + error.strerror
    if not OF_THE_LAB.match(path):
        found["file " + path] = text
    if stat.S_ISDIR(status.st_mode):
        for name in os.listdir(path):
            look(os.path.join(path, name))

def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout.decode()

def without_link_local(text):
    # They come by themselves, a moment after their interface.
    return "\n".join(line for line in text.splitlines() if "fe80:" not in line and "ff00:" not in line)

for folder in FOLDERS:
    look(folder)
TRANSIENT = re.compile(
    r"(session-|user-|user@|run-credentials|dev-|sys-|apt|e2scrub|dpkg|logrotate|fstrim"
    r"|systemd-(tmpfiles|timedated|hostnamed))"
)
for line in run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager").splitlines():
    name, load, active = line.split()[:3]
    if not TRANSIENT.match(name) and not (load == "not-found" and active == "inactive"):
        found["unit " + name] = load + " " + active
for line in run("systemctl", "list-unit-files", "--no-legend", "--no-pager").splitlines():
    if not TRANSIENT.match(line):
        found["unit file " + line.split()[0]] = line.split()[1]
for name in os.listdir("/sys/class/net"):
    found["interface " + name] = without_link_local(run("ip", "-o", "address", "show", name))
for line in without_link_local(run("ip", "route", "show", "table", "all")).splitlines():
    found["route " + line.strip()] = ""
for family in ("iptables-save", "ip6tables-save"):
    text = re.sub(r"\[\d+:\d+\]", "", run(family))
    for table in re.findall(r"(?ms)^\*(.*?)^COMMIT", text):
        lines = [line for line in table.splitlines()[1:]]
        # A table that nobody asked for yet is not listed; an empty one says the same.
        if [line for line in lines if not re.match(r":(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ACCEPT", line)]:
            found[f"rules {family} {table.splitlines()[0]}"] = "\n".join(lines)
for line in open("/proc/self/mountinfo"):
    words = line.split()
    if not words[4].startswith(("/run/credentials", "/run/user")):
        found["mount " + words[4]] = line.split(" - ")[1].split()[0]
for folder, names, _ in os.walk("/sys/fs/cgroup"):
    if not re.search(r"/(user\.slice|session-|user-|[^/]*(systemd-\w+|apt-\w+|dev-\w+|mount|ssh)[^/]*$)", folder):
        found["cgroup " + re.sub(r".*/(lxc|machine|pk3s)[^/]*/", "", folder)] = ""
for folder, _, names in os.walk("/proc/sys/net"):
    for name in names:
        path = os.path.join(folder, name)
        try:
            with open(path) as file:
                value = file.read().strip()
        except OSError:
            continue
        key = path[len("/proc/sys/"):].replace("/", ".")
        if not re.search(r"conf\.(cni0|flannel|veth)|neigh\.|nf_conntrack_count|route\.flush", key):
            found["sysctl " + key] = value
for name in os.listdir("/proc"):
    if name.isdigit():
        try:
            with open(f"/proc/{name}/cmdline") as file:
                words = file.read().split("\0")
        except OSError:
            continue
        if words[0] and re.search(r"k3s|containerd|kube|etcd|pause|coredns", words[0]):
            found["process " + words[0]] = ""
print(json.dumps(found))
"""


def fingerprint(bed: Bed, machine: Machine) -> dict[str, str]:
    """Return what there is on a machine: name to what is the case of it."""
    # A machine that has just booted is still busy making itself.
    bed.ssh(machine, "timeout 30 systemctl is-system-running --wait || true")
    found: dict[str, str] = json.loads(bed.ssh(machine, "python3 -", data=_SCRIPT.encode()))
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str], left: tuple[str, ...] = ()) -> list[str]:
    """Return what came, went or changed, except kernel settings that stay by design, and what begins with `left`."""
    found = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new and not name.startswith((*LEFT_BY_DESIGN, *left)):
            found.append(f"{name}: {old!r} -> {new!r}")
    return found
