"""What /etc/hosts says of this cluster, and whether cloud-init would write the file anew."""

from __future__ import annotations

import json
import re
from typing import Optional, Tuple

from productive_k3s.contract.facts import HostsFile
from productive_k3s.doors.system import Reading
from productive_k3s.k3s import paths
from productive_k3s.k3s.hosts_file import block_of

# Lists of unwanted names make the file large; it is read whole, as it is written whole.
LIMIT_BYTES = 64 << 20
# cloud-init's own words (its distro modules): the template is named for the family, not for the system.
_FAMILIES = {
    "redhat": ("almalinux", "amzn", "centos", "fedora", "ol", "rhel", "rocky"),
    "suse": ("opensuse-leap", "opensuse-tumbleweed", "sles", "sle-micro"),
}
# Merged by cloud-init itself, as root only can read it; older ones leave the parts only.
_COMBINED = "/run/cloud-init/combined-cloud-config.json"
_BASE = "/etc/cloud/cloud.cfg"
# What whoever made the machine said, and after that what its owner said.
_SAID = ("/var/lib/cloud/instance/vendor-cloud-config.txt", "/var/lib/cloud/instance/cloud-config.txt")
_SETTING = re.compile(r"(?m)^[ \t]*[\"']?manage_etc_hosts[\"']?[ \t]*:[ \t]*[\"']?(\w+)")
# `localhost` is not among them: cloud-init then keeps the file, and sees to the line of 127.0.1.1 only.
_WRITES_ANEW = ("true", "yes", "on", "1", "template")


async def hosts_files(system: Reading, os_id: str) -> Tuple[HostsFile, ...]:
    """Return /etc/hosts, and the template of cloud-init where that counts or still holds a block."""
    found = [HostsFile(paths.HOSTS, await _block(system, paths.HOSTS))]
    names = await system.list_directory(paths.CLOUD_INIT_TEMPLATES)
    name = f"hosts.{_family(os_id)}.tmpl"
    if name in names:
        path = f"{paths.CLOUD_INIT_TEMPLATES}/{name}"
        block = await _block(system, path)
        if block is not None or await _writes_hosts(system):
            found.append(HostsFile(path, block))
    return tuple(found)


def _family(os_id: str) -> str:
    return next((family for family, ids in _FAMILIES.items() if os_id in ids), "debian")


async def _block(system: Reading, path: str) -> Optional[Tuple[str, ...]]:
    data = await system.read(path, LIMIT_BYTES)
    return block_of((data or b"").decode(errors="replace"))


async def _writes_hosts(system: Reading) -> bool:
    """Whether cloud-init writes /etc/hosts from its template at each boot (its module update_etc_hosts)."""
    combined = await system.read(_COMBINED)
    if combined is not None:
        return combined_writes_hosts(combined.decode(errors="replace"))
    parts = [name for name in await system.list_directory(f"{_BASE}.d") if name.endswith(".cfg")]
    texts = [await system.read(path) for path in (_BASE, *(f"{_BASE}.d/{name}" for name in parts), *_SAID)]
    return parts_write_hosts("\n".join((text or b"").decode(errors="replace") for text in texts))


def combined_writes_hosts(text: str) -> bool:
    """PURE: read cloud-init's merged configuration."""
    try:
        document = json.loads(text)
    except ValueError:
        return False
    setting = document.get("manage_etc_hosts", False) if isinstance(document, dict) else False
    return str(setting).lower() in _WRITES_ANEW


def parts_write_hosts(text: str) -> bool:
    """PURE: read the parts in cloud-init's order, of which the last one that says it decides."""
    found = _SETTING.findall(text)
    return bool(found) and found[-1].lower() in _WRITES_ANEW
