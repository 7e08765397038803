"""PURE: what a host finds around K3s: names of the nodes, the proxy, and where nodes join."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import HostEntry, Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s.k3s import registries
from productive_k3s.plan.desired import node_address
from productive_k3s_infra.cluster_file.model import ClusterSpec, Proxy
from productive_k3s_infra.inventory.model import Host, Inventory

# docs.k3s.io, cli/server: the defaults.
CLUSTER_NETWORKS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_ip(address: str) -> bool:
    """Whether this is an IP address and no name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def registration_address(spec: ClusterSpec, inventory: Inventory) -> str:
    """Return where nodes join."""
    return spec.k3s.registration_address or inventory.founder.address


def api_names(spec: ClusterSpec, inventory: Inventory) -> tuple[str, ...]:
    """Return the names and addresses that the file wants in the API's certificate, beside the nodes' own."""
    wanted = (*spec.k3s.tls_san, spec.k3s.registration_address, spec.k3s.api_address)
    public = (server.public_address for server in inventory.servers)
    return tuple(dict.fromkeys(name for name in (*wanted, *public) if name))


def hosts_file(spec: ClusterSpec, inventory: Inventory) -> tuple[HostEntry, ...]:
    """Return the names of the nodes, and the name at which nodes join, with the addresses between nodes.

    A node whose address is a name has no line: that name leads to it already.
    """
    join = spec.k3s.registration_address
    further = (join,) if join and not is_ip(join) else ()

    def names(host: Host) -> tuple[str, ...]:
        first = host.name == inventory.founder.name
        return tuple(dict.fromkeys((host.name, *(further if first else ()))))

    return tuple(HostEntry(host.address, names(host)) for host in inventory.hosts if is_ip(host.address))


def secrets_of(spec: ClusterSpec) -> Secrets:
    """Return what is secret in the requests of all hosts."""
    proxy = spec.k3s.proxy or Proxy()
    urls = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https}
    found = {name: Secret(url.get_secret_value()) for name, url in urls.items() if url}
    return Secrets(
        environment={name: url for name, url in found.items() if registries.has_credentials(url.unmask())},
        registries={
            name: {key: Secret(value.get_secret_value()) for key, value in secrets.items()}
            for name, secrets in spec.k3s.registry_secrets.items()
        },
    )


def environment(spec: ClusterSpec, inventory: Inventory, request: Request, facts: Facts) -> dict[str, str]:
    """Return the variables of the unit that are no secret: proxies, and what is reached directly."""
    proxy = spec.k3s.proxy or Proxy()
    urls = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https}
    plain = {name: url.get_secret_value() for name, url in urls.items() if url}
    if not plain:
        return {}
    shown = {name: url for name, url in plain.items() if not registries.has_credentials(url)}
    return {**shown, "NO_PROXY": ",".join(_directly(spec, inventory, request, facts))}


def _directly(spec: ClusterSpec, inventory: Inventory, request: Request, facts: Facts) -> tuple[str, ...]:
    """Return the entries of NO_PROXY: the file's, and the nodes as far as those do not hold them already.

    The network of the host's own address stands for all nodes in it, so that another one there changes nothing here (a
    changed variable is a restart). A server adds the cluster's own networks by itself when it starts (docs.k3s.io,
    advanced, HTTP proxy; k3s-io/k3s, pkg/server), an agent does not.
    """
    nodes = [host.address for host in inventory.hosts]
    networks = _cluster_networks(spec) if request.role == "agent" else ()
    wanted = (*_own_network(request, facts), registration_address(spec, inventory), *nodes, *networks)
    found = list(dict.fromkeys(spec.k3s.proxy.no_proxy if spec.k3s.proxy else ()))
    for entry in wanted:
        if not _is_held(entry, found):
            found.append(entry)
    return tuple(found)


def _own_network(request: Request, facts: Facts) -> Iterator[str]:
    address = (node_address(request.node_ip, facts) or "").partition(",")[0]
    for interface in facts.host.interfaces:
        for text in interface.addresses:
            if text.partition("/")[0] == address:
                yield str(ipaddress.ip_interface(text).network)


def _cluster_networks(spec: ClusterSpec) -> Iterator[str]:
    for flag, default in CLUSTER_NETWORKS.items():
        written = spec.k3s.server.get(flag, default)
        texts = written if isinstance(written, list) else [written]
        yield from (part.strip() for text in texts for part in str(text).split(",") if part.strip())


def _is_held(entry: str, found: Iterable[str]) -> bool:
    network = _network(entry)
    if network is None:
        return entry in found
    return any(_holds(_network(other), network) for other in found)


def _holds(outer: _Network | None, inner: _Network) -> bool:
    return outer is not None and outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
