"""Hosts as a person names them on the command line: `user@host:port`, with what OpenSSH's configuration adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from productive_k3s_infra._files import at_home
from productive_k3s_infra.cluster_file.first_file import host_parts
from productive_k3s_infra.cluster_file.provider import OnpremProvider
from productive_k3s_infra.inventory.build import DEFAULT_PORT, Login, LoginOf, nothing_configured
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory


@dataclass(frozen=True)
class Named:
    """What the command line says of the hosts. `key` is a path; empty texts and 0 are not said."""

    addresses: Sequence[str]
    user: str = ""
    port: int = 0
    key: str = ""
    jump: str = ""


def named_hosts(cluster: str, named: Named, login_of: LoginOf = nothing_configured) -> Inventory:
    """Return the hosts to ask, called as they were named; raises BadInput for an address that is none.

    What nobody says of a login, `login_of` may say, then the defaults.
    """
    jump = _endpoint(named.jump, named, Login(named.user or None), login_of) if named.jump else None
    said = Login(named.user or None, named.port or None)
    endpoints = {given: _endpoint(given, named, said, login_of) for given in named.addresses}
    hosts = (
        Host(given, "agent", endpoint.address, replace(endpoint, jump=jump)) for given, endpoint in endpoints.items()
    )
    return Inventory(cluster, tuple(hosts))


def _endpoint(given: str, named: Named, said: Login, login_of: LoginOf) -> Endpoint:
    parts = host_parts(given)
    address, user = str(parts["address"]), str(parts.get("user") or said.user or "") or None
    configured = login_of(address, user)
    return Endpoint(
        address=address,
        user=user or configured.user or OnpremProvider.capabilities.default_user,
        port=int(parts.get("port") or said.port or configured.port or DEFAULT_PORT),
        key=str(at_home(named.key).absolute()) if named.key else None,
    )
