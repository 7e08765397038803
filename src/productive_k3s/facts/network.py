"""Interfaces, routes and listening sockets."""

from __future__ import annotations

import ipaddress
import json
import re
import struct
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from productive_k3s.contract.facts import Interface, Listener
from productive_k3s.doors.system import Reading

_LISTEN_STATES = {"tcp": "0A", "udp": "07"}
_PROCESS = re.compile(r'\(\("([^"]*)"')


async def interfaces(system: Reading) -> Tuple[Interface, ...]:
    """Return the interfaces: from iproute2, which minimal systems may lack, else from the kernel's own lists."""
    done = await system.ask("addresses")
    documents = _json_list(done.stdout) if done.returncode == 0 else None
    if documents is not None:
        return parse_addresses(documents)
    return await _interfaces_of_the_kernel(system)


def _json_list(text: str) -> Optional[List[Mapping[str, Any]]]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else None


def parse_addresses(documents: Sequence[Mapping[str, Any]]) -> Tuple[Interface, ...]:
    """PURE: read `ip -json addr`. Link-local addresses lead nowhere, so they are left out."""
    found = []
    for document in documents:
        addresses = [
            f"{item['local']}/{item['prefixlen']}"
            for item in document.get("addr_info", ())
            if "local" in item and item.get("scope") != "link"
        ]
        mac = "" if document.get("link_type") == "loopback" else document.get("address", "")
        up = "UP" in document.get("flags", ())
        found.append(Interface(str(document.get("ifname", "")), up, mac, tuple(addresses)))
    return tuple(found)


async def _interfaces_of_the_kernel(system: Reading) -> Tuple[Interface, ...]:
    routes = parse_route_table(await _text(system, "/proc/net/route"))
    local = parse_local_addresses(await _text(system, "/proc/net/fib_trie"))
    by_interface = assign_addresses(local, routes)
    for name, address in parse_if_inet6(await _text(system, "/proc/net/if_inet6")):
        by_interface.setdefault(name, []).append(address)
    found = []
    for name in await system.list_directory("/sys/class/net"):
        state = (await _text(system, f"/sys/class/net/{name}/operstate")).strip()
        mac = (await _text(system, f"/sys/class/net/{name}/address")).strip()
        addresses = tuple(by_interface.get(name, ()))
        found.append(Interface(name, state in ("up", "unknown"), "" if name == "lo" else mac, addresses))
    return tuple(found)


async def _text(system: Reading, path: str) -> str:
    return (await system.read(path) or b"").decode(errors="replace")


def parse_route_table(text: str) -> Tuple[Tuple[str, ipaddress.IPv4Network, str, int], ...]:
    """PURE: return (interface, network, gateway, metric) of /proc/net/route; a gateway of '' is a network at hand."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 8:
            continue
        network = ipaddress.IPv4Network((_little_endian(words[1]), str(_little_endian(words[7]))), strict=False)
        gateway = _little_endian(words[2])
        found.append((words[0], network, str(gateway) if int(gateway) else "", int(words[6])))
    return tuple(found)


def _little_endian(word: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(struct.unpack("<I", bytes.fromhex(word))[0])


def parse_local_addresses(fib_trie: str) -> Tuple[str, ...]:
    """PURE: return the host's own IPv4 addresses of /proc/net/fib_trie, in order, each once."""
    found: Dict[str, None] = {}
    candidate = ""
    for line in fib_trie.splitlines():
        words = line.split()
        if "|--" in words:
            candidate = words[-1]
        elif "host" in words and "LOCAL" in words:
            found[candidate] = None
    return tuple(found)


def assign_addresses(
    addresses: Sequence[str], routes: Sequence[Tuple[str, ipaddress.IPv4Network, str, int]]
) -> Dict[str, List[str]]:
    """PURE: give each address to the interface of the narrowest network at hand that holds it."""
    found: Dict[str, List[str]] = {}
    for text in addresses:
        address = ipaddress.IPv4Address(text)
        if address.is_loopback:
            found.setdefault("lo", []).append(f"{text}/8")
            continue
        holders = [(net.prefixlen, name) for name, net, gateway, _ in routes if not gateway and address in net]
        if holders:
            length, name = max(holders)
            found.setdefault(name, []).append(f"{text}/{length}")
    return found


def parse_if_inet6(text: str) -> Tuple[Tuple[str, str], ...]:
    """PURE: return (interface, address) of /proc/net/if_inet6 without link-local ones."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 6:
            address = ipaddress.IPv6Address(bytes.fromhex(words[0]))
            if not address.is_link_local:
                found.append((words[5], f"{address}/{int(words[2], 16)}"))
    return tuple(found)


async def routes(system: Reading) -> Tuple[Optional[str], Tuple[str, ...]]:
    """Return the interface of the default route, and all routes of the main table as iproute2 writes them."""
    done = await system.ask("routes")
    documents = _json_list(done.stdout) if done.returncode == 0 else None
    if documents is None:
        return _routes_of_the_kernel(parse_route_table(await _text(system, "/proc/net/route")))
    if default_of(documents) is None:
        # K3s takes an IPv6 default route where there is no other.
        done = await system.ask("default-route-6")
        documents = [*documents, *(_json_list(done.stdout) or ())]
    return default_of(documents), tuple(_route_text(item) for item in documents)


def default_of(documents: Sequence[Mapping[str, Any]]) -> Optional[str]:
    """PURE: return the interface of the default route with the lowest metric."""
    defaults = [item for item in documents if item.get("dst") == "default"]
    best = min(defaults, key=lambda item: int(item.get("metric", 0)), default=None)
    if best is None:
        return None
    hops = best.get("nexthops") or [best]
    name = hops[0].get("dev")
    return str(name) if name else None


def _route_text(item: Mapping[str, Any]) -> str:
    via = f" via {item['gateway']}" if item.get("gateway") else ""
    device = f" dev {item['dev']}" if item.get("dev") else ""
    return f"{item.get('dst', '')}{via}{device}"


def _routes_of_the_kernel(
    table: Sequence[Tuple[str, ipaddress.IPv4Network, str, int]],
) -> Tuple[Optional[str], Tuple[str, ...]]:
    defaults = [(metric, name) for name, network, _, metric in table if network.prefixlen == 0]
    texts = [
        _route_text({"dst": "default" if not net.prefixlen else str(net), "gateway": gateway, "dev": name})
        for name, net, gateway, _ in table
    ]
    return (min(defaults)[1] if defaults else None), tuple(texts)


async def listeners(system: Reading) -> Tuple[Listener, ...]:
    """Return the listening sockets: with program names from ss, else without them from the kernel's own lists."""
    done = await system.ask("sockets")
    if done.returncode == 0:
        return parse_ss(done.stdout)
    found: List[Listener] = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        found.extend(parse_sockets(await _text(system, f"/proc/net/{name}"), name[:3]))
    return tuple(found)


def parse_ss(text: str) -> Tuple[Listener, ...]:
    """PURE: read `ss -Hlntup`."""
    found = []
    for line in text.splitlines():
        words = line.split(None, 6)
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            continue
        address, _, port = words[4].rpartition(":")
        process = _PROCESS.search(words[6]) if len(words) > 6 else None
        if port.isdigit():
            name = process.group(1) if process else ""
            found.append(_listener(words[0], address.split("%")[0].strip("[]"), int(port), name))
    return tuple(found)


def parse_sockets(text: str, protocol: str) -> Tuple[Listener, ...]:
    """PURE: read /proc/net/tcp and its kin: the sockets that listen."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == _LISTEN_STATES[protocol]:
            address, _, port = words[1].partition(":")
            found.append(_listener(protocol, _address(address), int(port, 16), ""))
    return tuple(found)


def _listener(protocol: str, address: str, port: int, process: str) -> Listener:
    return Listener("tcp" if protocol == "tcp" else "udp", address, port, process)


def _address(word: str) -> str:
    data = bytes.fromhex(word)
    if len(data) == 4:
        return str(_little_endian(word))
    # Four words, each in the machine's byte order, which is little-endian wherever K3s has a release.
    swapped = b"".join(data[index : index + 4][::-1] for index in range(0, 16, 4))
    return str(ipaddress.IPv6Address(swapped))
