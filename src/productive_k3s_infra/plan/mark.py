"""PURE: how nodes of ours are told from others, and how their hosts are reached once the file does not name them."""

from __future__ import annotations

from productive_k3s.contract.facts import NodeFact
from productive_k3s_infra.inventory.model import Endpoint, Host
from productive_k3s_infra.plan.model import Reach

MARK = "productive-k3s.io/cluster"
"""The label that every Node of ours has; its value is the cluster's name. Only such a Node is ever removed."""


def is_ours(node: NodeFact, cluster: str) -> bool:
    """Whether an apply of this cluster has marked the Node, when it joined or when it was adopted."""
    return node.labels.get(MARK) == cluster


def reach_of(host: Host, common_key: str | None) -> Reach:
    """Return how a host is reached, for `cluster.lock`: `address` is that of SSH.

    The key that the file names for all hosts is left out: the team commits this, and each has that key elsewhere.
    """
    return _reach(host.endpoint, common_key)


def _reach(endpoint: Endpoint, common_key: str | None) -> Reach:
    return Reach(
        address=endpoint.address,
        user=endpoint.user,
        port=endpoint.port,
        jump=_reach(endpoint.jump, common_key) if endpoint.jump is not None else None,
        key=endpoint.key if endpoint.key and endpoint.key != common_key else "",
        host_key=endpoint.host_keys[0] if endpoint.host_keys else "",
    )


def leaving_host(name: str, reach: Reach, common_key: str | None) -> Host:
    """Return a host that the file does not name any more, as it was reached; what leaves is an agent."""
    return Host(name, "agent", reach.address, _endpoint(reach, common_key))


def _endpoint(reach: Reach, common_key: str | None) -> Endpoint:
    return Endpoint(
        address=reach.address,
        user=reach.user,
        port=reach.port,
        key=reach.key or common_key,
        host_keys=(reach.host_key,) if reach.host_key else (),
        jump=_endpoint(reach.jump, common_key) if reach.jump is not None else None,
    )
