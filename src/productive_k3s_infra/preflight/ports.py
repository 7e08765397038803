"""PURE: the ports that K3s takes on a host and that others must reach there, as the file's flags say."""

from __future__ import annotations

from productive_k3s.k3s import config_file
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.inventory.model import Role
from productive_k3s_infra.plan.requests import api_port

# K3s requirements page, inbound rules; pkg/daemons/config and pkg/etcd of k3s-io/k3s for those on loopback.
_ETCD = ("tcp/2379", "tcp/2380")
_KUBELET = "tcp/10250"
# What flannel sends the pods' packets in, by flannel-backend; the others need no port of their own.
_FLANNEL = {"vxlan": ("udp/8472",), "wireguard-native": ("udp/51820", "udp/51821")}
_DEFAULT_BACKEND = "vxlan"
_AGENT_LOOPBACK = (10010, 10248, 10249, 10256)
_SERVER_LOOPBACK = (10257, 10258, 10259)
_ETCD_LOOPBACK = (2381, 2382)
_LOAD_BALANCER = 6444


def needed_ports(spec: ClusterSpec, role: Role) -> tuple[str, ...]:
    """Return the ports that the other nodes must reach on a host of that role."""
    supervisor = (f"tcp/{api_port(spec)}",) if role == "server" else ()
    return (*supervisor, _KUBELET, *_flannel(spec))


def open_ports(spec: ClusterSpec, role: Role) -> tuple[str, ...]:
    """Return the ports that K3s opens for everybody on a host of that role."""
    etcd = _ETCD if role == "server" and spec.k3s.datastore == "etcd" else ()
    return (*needed_ports(spec, role), *etcd)


def loopback_ports(spec: ClusterSpec, role: Role) -> tuple[int, ...]:
    """Return the TCP ports that K3s opens on loopback on a host of that role."""
    if role == "agent":
        return (_number(spec.k3s.agent.get("lb-server-port"), _LOAD_BALANCER), *_AGENT_LOOPBACK)
    # The API server itself listens on the port after the supervisor's (k3s-io/k3s, pkg/cli/server).
    own = _number(spec.k3s.server.get("apiserver-port"), api_port(spec) + 1)
    etcd = _ETCD_LOOPBACK if spec.k3s.datastore == "etcd" else ()
    return (own, *_AGENT_LOOPBACK, *_SERVER_LOOPBACK, *etcd)


def _flannel(spec: ClusterSpec) -> tuple[str, ...]:
    flags = config_file.canonical(spec.k3s.server)
    backend = (flags.get("flannel-backend") or [_DEFAULT_BACKEND])[-1].partition("=")[0]
    ports = _FLANNEL.get(backend, ())
    # The second one of WireGuard is for IPv6.
    has_v6 = any(":" in item for item in flags.get("cluster-cidr") or ())
    return ports if has_v6 else ports[:1]


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) else default
