"""The bridge of a set: one interface on this computer, which all machines of the set are plugged into."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from productive_k3s_infra import _process
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.providers.local.model import SetRecord

# What makes a bridge recognisable as ours even when its set's files are gone; the set's folder follows.
_ALIAS = "productive-k3s machines "


@dataclass(frozen=True)
class Link:
    """One network interface of this computer."""

    name: str
    alias: str
    master: str


def parse_networks(routes: str, addresses: str) -> tuple[IPv4Network, ...]:
    """Read every IPv4 network that is routed or configured from the JSON of `ip route` and `ip address`."""
    found: set[IPv4Network] = set()
    for route in json.loads(routes or "[]"):
        if route.get("dst", "default") != "default":
            found.add(IPv4Network(route["dst"], strict=False))
    for link in json.loads(addresses or "[]"):
        for address in link.get("addr_info", ()):
            found.add(IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False))
    return tuple(sorted(found))


def taken_networks() -> tuple[IPv4Network, ...]:
    """List the networks that a new set must not touch."""
    routes = _process.run(("ip", "-j", "-4", "route", "show", "table", "all")).stdout
    addresses = _process.run(("ip", "-j", "-4", "address", "show")).stdout
    return parse_networks(routes, addresses)


def parse_links(text: str) -> tuple[Link, ...]:
    """Read interfaces from the JSON of `ip link`."""
    documents: Sequence[Mapping[str, Any]] = json.loads(text or "[]")
    return tuple(
        Link(str(one["ifname"]), str(one.get("ifalias", "")), str(one.get("master", "")))
        for one in documents
        if "ifname" in one
    )


def links() -> tuple[Link, ...]:
    """List the interfaces of this computer."""
    return parse_links(_process.run(("ip", "-j", "link", "show")).stdout)


def any_bridge_left() -> bool:
    """Say whether any set, of whatever root, has its bridge on this computer."""
    return any(link.alias.startswith(_ALIAS) for link in links())


def ensure_bridge(record: SetRecord, folder: Path) -> None:
    """Make the set's bridge exist, with its address, and be up. Refuses a bridge that belongs to another set."""
    existing = next((link for link in links() if link.name == record.bridge), None)
    if existing is not None and existing.alias not in ("", _alias(folder)):
        raise ProviderFailed(
            f"the bridge {record.bridge} belongs to another set",
            where=f"set {record.name}",
            evidence=existing.alias,
            remedy="destroy one of the two sets",
            code="local.bridge-taken",
        )
    if existing is None:
        # A fixed hardware address: otherwise the bridge takes that of a machine, and all forget it when that one stops.
        hardware = f"02:70:6b:33:73:{record.number:02x}"
        _process.run(("ip", "link", "add", "name", record.bridge, "address", hardware, "type", "bridge"))
    _process.run(("ip", "link", "set", "dev", record.bridge, "alias", _alias(folder)))
    address = f"{record.gateway}/{record.network.prefixlen}"
    _process.run(("ip", "address", "replace", address, "dev", record.bridge))
    _process.run(("ip", "link", "set", "dev", record.bridge, "up"))


def remove_links(folder: Path, bridge: str | None = None) -> None:
    """Remove the bridge of a set and what is plugged into it; does nothing when there is none."""
    for name in links_of(folder, bridge):
        done = _process.run(("ip", "link", "delete", "dev", name), check=False)
        # An interface of a machine that just died goes by itself, between the look and the deletion.
        if done.exit_code != 0 and "Cannot find device" not in done.stderr:
            raise ProviderFailed(
                f"the interface {name} could not be removed", where=str(folder), evidence=done.stderr.strip()
            )


def links_of(folder: Path, bridge: str | None = None) -> tuple[str, ...]:
    """List the interfaces of a set, the bridge last. `bridge` finds one that was cut off before it got its alias."""
    everything = links()
    bridges = [
        link.name
        for link in everything
        if link.alias == _alias(folder) or (bridge is not None and link.name == bridge and not link.alias)
    ]
    return (*(link.name for link in everything if link.master in bridges), *bridges)


def _alias(folder: Path) -> str:
    return f"{_ALIAS}{folder}"
