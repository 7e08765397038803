"""PURE: can the nodes be where the file says, and reach each other there?"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator

from productive_k3s.contract.facts import Facts, Listener
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.preflight.ports import loopback_ports, needed_ports, open_ports
from productive_k3s_infra.preflight.rule import Finding, PreflightContext, runs_k3s

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# docs.k3s.io, cli/server: the defaults of cluster-cidr and service-cidr.
DEFAULT_NETWORKS = {"cluster-cidr": ("10.42.0.0/16",), "service-cidr": ("10.43.0.0/16",)}
_NETWORK_NAMES = {"cluster-cidr": "pods", "service-cidr": "services"}
_WEB_PORTS = (80, 443)
_OWN_INTERFACES = ("cni", "flannel", "kube-", "veth")
_WILDCARDS = ("", "*", "0.0.0.0", "::")  # noqa: S104 - read from a host, never listened on


def judge_address(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    try:
        wanted = ipaddress.ip_address(host.address)
    except ValueError:
        yield _name_as_address(host, facts)
        return
    holders = [item for item in facts.host.interfaces if any(_ip(text) == wanted for text in item.addresses)]
    seen = ", ".join(f"{item.name} {' '.join(item.addresses)}" for item in facts.host.interfaces if item.addresses)
    if not holders:
        yield Finding(host.name, False, f"no interface has the declared address {host.address}", seen)
        return
    names = ", ".join(item.name for item in holders)
    is_up = any(item.up for item in holders)
    state = "" if is_up else ", which is down"
    yield Finding(
        host.name,
        is_up,
        f"{host.address} is on {names}{state}",
        seen,
        remedy="" if is_up else f"bring {names} up",
    )


def _name_as_address(host: Host, facts: Facts) -> Finding:
    """A name says where the others look; which address it is, K3s chooses on the host itself: by the default route."""
    own = [item for item in facts.host.interfaces if item.name == facts.host.default_interface and item.addresses]
    if not host.address or not own:
        message = f"{host.address or 'no address'} is a name, and no interface with a default route has an address"
        return Finding(host.name, False, message, remedy="declare the node's IP address")
    first = next((text for text in own[0].addresses if ":" not in text), own[0].addresses[0])
    chosen = first.partition("/")[0]
    return Finding(host.name, True, f"{host.address} is a name; the node's own address is {chosen} on {own[0].name}")


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_interface(text).ip
    except ValueError:
        return None


def judge_default_route(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    interface = facts.host.default_interface
    yield Finding(host.name, bool(interface), f"through {interface}" if interface else "no default route")


def judge_networks(look: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    ours = [
        (_NETWORK_NAMES[flag], network)
        for flag, default in DEFAULT_NETWORKS.items()
        for network in (_network(text) for text in look.flag("server", flag, default))
        if network is not None
    ]
    theirs = {f"route {route}": _network(route) for route in _foreign_routes(facts)}
    for item in facts.host.interfaces:
        if not item.name.startswith(_OWN_INTERFACES):
            theirs.update({f"{item.name} {text}": _network(text) for text in item.addresses})
    theirs.update({f"node {other.name} {other.address}": _network(other.address) for other in look.inventory.hosts})
    clashes = [
        f"{name} {network} and {what}"
        for name, network in ours
        for what, other in theirs.items()
        if other is not None and _overlap(network, other)
    ]
    message = f"overlap: {'; '.join(clashes)}" if clashes else "the pods' and services' networks are free"
    yield Finding(host.name, not clashes, message, ", ".join(f"{name} {network}" for name, network in ours))


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _foreign_routes(facts: Facts) -> list[str]:
    """Routes that are not K3s' own. On a node its routes into the pods' network are what makes it a node."""
    if facts.k3s.role is not None:
        return []
    default = ("default", "0.0.0.0/0", "::/0")
    return [route for route in facts.host.routes if route.split() and route.split()[0] not in default]


@functools.lru_cache(maxsize=4096)
def _network(text: str) -> Network | None:
    # Each host is held against the addresses of all.
    try:
        return ipaddress.ip_network(text.split(maxsplit=1)[0], strict=False)
    except (ValueError, IndexError):
        return None


def judge_free_ports(look: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    if runs_k3s(facts):
        yield Finding(host.name, True, "K3s is running here and uses them")
        return
    taken = [item for item in facts.host.listeners if _collides(item, look, host)]
    held = sorted({f"{item.protocol}/{item.port} by {item.process or 'a process'}" for item in taken})
    ours = bool(taken) and all(item.process.startswith(("k3s", "containerd")) for item in taken)
    yield Finding(
        host.name,
        not taken,
        f"taken: {', '.join(held)}" if taken else "the ports that K3s needs are free",
        ", ".join(sorted(f"{item.process or 'a process'} on {item.address}:{item.port}" for item in taken)),
        # A stopped K3s leaves processes that its next start takes over.
        severity="warning" if facts.k3s.role is not None else "error",
        remedy="these processes are left over from K3s: run k3s-killall.sh there, or stop them" if ours else "",
    )


def _collides(listener: Listener, look: PreflightContext, host: Host) -> bool:
    if f"{listener.protocol}/{listener.port}" in open_ports(look.spec, host.role):
        return True
    on_loopback = listener.protocol == "tcp" and listener.port in loopback_ports(look.spec, host.role)
    return on_loopback and _meets_loopback(listener.address)


def _meets_loopback(address: str) -> bool:
    bare = address.strip("[]").partition("%")[0]
    # A listener on 127.0.0.53 leaves 127.0.0.1 free.
    return bare in _WILDCARDS or bare in {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def judge_web_ports(look: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    disabled = look.flag("server", "disable")
    if "traefik" in disabled or "servicelb" in disabled or runs_k3s(facts):
        yield Finding(host.name, True, "K3s does not need to bind them again")
        return
    taken = [item for item in facts.host.listeners if item.protocol == "tcp" and item.port in _WEB_PORTS]
    held = sorted({f"{item.port} by {item.process or 'a process'}" for item in taken})
    yield Finding(host.name, not taken, f"taken: {', '.join(held)}" if taken else "free for Traefik")


def judge_firewall(look: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    active = facts.host.active_firewalls
    networks = [text for flag, default in DEFAULT_NETWORKS.items() for text in look.flag("server", flag, default)]
    ports = ", ".join(needed_ports(look.spec, host.role))
    remedy = f"open {ports} between the nodes, and let {' and '.join(networks)} through"
    yield Finding(
        host.name,
        not active,
        f"active: {', '.join(active)}" if active else "no active firewall",
        ", ".join(active),
        remedy=f"{remedy}; or turn it off",
    )


def judge_reach(look: PreflightContext) -> Iterator[Finding]:
    if look.probes is None:
        yield Finding(
            look.inventory.cluster,
            False,
            "the ports between the hosts were not tested",
            severity="info",
            remedy="leave the probes on to test them",
        )
        return
    silent = look.observed.unreachable
    for probe in look.probes:
        if probe.source in silent or probe.target in silent:
            continue  # said once already, by the host itself
        yield Finding(
            f"{probe.source} to {probe.target} {probe.port}",
            not probe.cause,
            "is reached" if not probe.cause else "is not reached",
            probe.cause,
            severity="warning" if probe.port.endswith("/10250") else "error",
        )
