"""PURE: from the spec, and where its nodes were found, to the inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from productive_k3s_infra.cluster_file.model import ClusterSpec, Jump, Node
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory, Location

DEFAULT_PORT = 22
# RFC 5737, TEST-NET-1: no host has such an address, so a placeholder is never taken for a real one.
_PLACEHOLDERS = "192.0.2."


@dataclass(frozen=True)
class Login:
    """What this computer's OpenSSH configuration says of an address; None: nothing."""

    user: str | None = None
    port: int | None = None


# Of an address, and of the user who is said already to log in there.
LoginOf = Callable[[str, str | None], Login]


def nothing_configured(address: str, user: str | None) -> Login:
    """Stand for a configuration that says nothing."""
    del address, user
    return Login()


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


def declared_location(spec: ClusterSpec, node: Node, login_of: LoginOf = nothing_configured) -> Location:
    """Return where a host is that exists and stands in the file."""
    endpoint = declared_endpoint(spec, node, login_of)
    return Location(node.address or endpoint.address, endpoint, node.public_address or "")


def declared_endpoint(spec: ClusterSpec, node: Node, login_of: LoginOf = nothing_configured) -> Endpoint:
    """Return how a host that exists is reached.

    The node's own words count, then those of `spec.ssh`, then what `login_of` says, then the defaults.
    """
    common = spec.ssh
    address = node.ssh.address or node.address or ""
    said, port = node.ssh.user or common.user, node.ssh.port or common.port
    login = login_of(address, said) if said is None or port is None else Login()
    user = said or login.user or spec.provider.capabilities.default_user
    key = node.ssh.key or common.key
    jump = node.ssh.jump or common.jump
    return Endpoint(
        address=address,
        user=user,
        port=port or login.port or DEFAULT_PORT,
        key=key,
        host_keys=node.host_key,
        jump=_jump(jump, user, key, login_of) if jump else None,
    )


def _jump(jump: Jump, user: str, key: str | None, login_of: LoginOf) -> Endpoint:
    known = jump.user is not None and jump.port is not None
    login = Login() if known else login_of(jump.address, jump.user)
    return Endpoint(
        jump.address,
        jump.user or login.user or user,
        jump.port or login.port or DEFAULT_PORT,
        jump.key or key,
        jump.host_key,
    )
