"""Is AppArmor switched on in the kernel, and is there the program that loads its profiles?"""

from __future__ import annotations

from productive_k3s.doors.system import Reading

_SWITCH = "/sys/module/apparmor/parameters/enabled"
# containerd looks for the program here alone, and loads a profile for each container whenever the kernel has AppArmor
# (github.com/containerd/containerd, pkg/apparmor; k3s check-config asks the same).
PARSER = "/sbin/apparmor_parser"
_PLACES = (PARSER, "/usr/sbin/apparmor_parser")


async def apparmor(system: Reading) -> str:
    """Return `` where the kernel has none, `enabled`, or `no-parser` where it is on and the program is missing."""
    said = await system.read(_SWITCH)
    if (said or b"").strip() != b"Y":
        return ""
    for place in _PLACES:
        if await system.stat(place) is not None:
            return "enabled"
    return "no-parser"
