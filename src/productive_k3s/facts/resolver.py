"""Which name servers will the pods of this host ask for names outside of the cluster?"""

from __future__ import annotations

import ipaddress
from typing import Optional, Tuple

from productive_k3s.doors.system import Reading

# In the order in which K3s takes the first one that fits (k3s-io/k3s, pkg/agent/config, locateOrGenerateResolvConf).
FILES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


async def nameservers(system: Reading) -> Optional[Tuple[str, ...]]:
    """Return those of the file that K3s hands to pods, () if none fits, None if there is no file to say it."""
    there = False
    for path in FILES:
        text = await system.read(path)
        if text is None:
            continue
        there = True
        found = parse_nameservers(text.decode(errors="replace"))
        if found and all(map(is_usable, found)):
            return found
    return () if there else None


def parse_nameservers(text: str) -> Tuple[str, ...]:
    """PURE: return the addresses in a resolv.conf(5)."""
    lines = (line.split() for line in text.splitlines())
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


def is_usable(address: str) -> bool:
    """PURE: return whether a pod can ask there: loopback and link-local are elsewhere there."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified)
