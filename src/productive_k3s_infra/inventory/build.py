"""PURE: from the spec, and where its nodes were found, to the inventory."""

from __future__ import annotations

from collections.abc import Mapping

from productive_k3s_infra.cluster_file.model import ClusterSpec, Node
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory, Location

DEFAULT_PORT = 22
# RFC 5737, TEST-NET-1: no host has such an address, so a placeholder is never taken for a real one.
_PLACEHOLDERS = "192.0.2."


def build_inventory(spec: ClusterSpec, found: Mapping[str, Location]) -> Inventory:
    """Return the hosts in file order. A node that was not found is assumed: its machine does not exist yet."""
    return Inventory(spec.name, tuple(_host(node, found.get(node.name), row) for row, node in enumerate(spec.nodes, 1)))


def _host(node: Node, there: Location | None, row: int) -> Host:
    address = there.address if there is not None else node.address or placeholder_address(row)
    return Host(
        name=node.name,
        role=node.role,
        address=address,
        endpoint=there.endpoint if there is not None else Endpoint(address),
        public_address=there.public_address if there is not None else node.public_address or "",
        labels=dict(node.labels),
        taints=node.taints,
        assumed=there is None,
    )


def placeholder_address(row: int) -> str:
    """Return the address that stands for that of the `row`-th node (from 1) until its machine exists."""
    return f"{_PLACEHOLDERS}{row % 254 + 1}"


def declared_location(spec: ClusterSpec, node: Node) -> Location:
    """Return where a host is that exists and stands in the file."""
    endpoint = declared_endpoint(spec, node)
    return Location(node.address or endpoint.address, endpoint, node.public_address or "")


def declared_endpoint(spec: ClusterSpec, node: Node) -> Endpoint:
    """Return how a host that exists is reached: the node's own words, then those of `spec.ssh`, then the defaults."""
    common = spec.ssh
    jump = node.ssh.jump or common.jump
    user = node.ssh.user or common.user or spec.provider.capabilities.default_user
    key = node.ssh.key or common.key
    return Endpoint(
        address=node.ssh.address or node.address or "",
        user=user,
        port=node.ssh.port or common.port or DEFAULT_PORT,
        key=key,
        host_keys=node.host_key,
        jump=Endpoint(jump.address, jump.user or user, jump.port, jump.key or key, jump.host_key) if jump else None,
    )
