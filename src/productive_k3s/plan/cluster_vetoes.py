"""PURE: vetoes that protect a cluster: who this node is in it, what it was founded with, whose token is given."""

from __future__ import annotations

from typing import Iterator, Mapping

from productive_k3s.contract.failure import Failure, refused
from productive_k3s.k3s.token import parse_token
from productive_k3s.plan.compare import FIXED, Comparison
from productive_k3s.plan.desired import Desired, interface_of
from productive_k3s.plan.effective import Effective
from productive_k3s.plan.tokens import token_unclear


def identity(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    """Refuse another name for a node that has one, and an address that this host does not have."""
    k3s, request, host = effective.facts.k3s, desired.request, effective.facts.host
    if effective.is_member and request.node_name and k3s.node_name and request.node_name != k3s.node_name:
        yield refused(
            "k3s.node-name-changes",
            f"this node is {k3s.node_name}, not {request.node_name}",
            remedy="a node keeps its name: declare that name, or remove the node and let it join again",
        )
    if not desired.address:
        yield refused(
            "host.no-default-route",
            "this host has no address beside a default route",
            remedy="add a default route (K3s needs one), or set node-ip",
        )
    elif interface_of(desired.address, effective.facts) is None:
        yield refused(
            "host.address-missing",
            f"no interface of this host has the address {desired.address}",
            ", ".join(f"{item.name} {' '.join(item.addresses)}" for item in host.interfaces),
            "correct the declared address, or give the host that address",
        )
    yield from _address(desired, effective)


def _address(desired: Desired, effective: Effective) -> Iterator[Failure]:
    """Refuse another node-ip for a member of etcd: its peer URL would keep the old one (k3s-io/k3s, pkg/etcd)."""
    before = effective.flags.get("node-ip") or list(
        filter(None, [effective.node.internal_ip if effective.node else ""])
    )
    after = desired.flags.get("node-ip", [])
    if effective.is_member and effective.facts.k3s.datastore == "etcd" and before and after and before[0] != after[0]:
        yield refused(
            "k3s.address-changes",
            f"this etcd member has the address {before[0]}, which cannot be changed to {after[0]}",
            "the other members and the nodes that joined here keep using the old address",
            f"give the host {before[0]} back, or replace the server: remove the node from its cluster, uninstall K3s "
            "here, and let it join again; if it is the only server, restore it from a snapshot",
        )


def fixed(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    """Refuse another value for what K3s keeps at its first one."""
    for key in FIXED:
        asked = desired.flags.get(key)
        there = effective.own.get(key, effective.flags.get(key))
        if effective.is_member and asked != there:
            yield refused(
                "k3s.fixed-at-first-start",
                f"{key} cannot be changed on an existing cluster",
                f"is {there or 'the default'}, requested {asked or 'the default'}",
                f"restore {key}",
            )


def encryption(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    """Refuse to take secrets-encryption away while the datastore holds encrypted secrets.

    Without the flag the API server cannot read them and never becomes ready (seen on v1.36.3).
    """
    key = "secrets-encryption"
    goes = effective.is_member and key in effective.flags and key not in desired.flags
    if goes and effective.facts.k3s.encrypts_secrets is not False:
        yield refused(
            "k3s.secrets-encryption-goes",
            "without secrets-encryption K3s cannot read the secrets that are encrypted, and does not start",
            f"{key} is set now, and secrets in the datastore are encrypted",
            f"set {key}: true again; to turn it off, on a server: k3s secrets-encrypt "
            "disable, restart K3s on every server, "
            "k3s secrets-encrypt reencrypt --force --skip, and remove the flag once k3s secrets-encrypt status says "
            "Disabled and reencrypt_finished",
        )


def cluster(desired: Desired, effective: Effective, _: Comparison) -> Iterator[Failure]:
    """Refuse to found a second cluster, and a host of another one."""
    k3s, request = effective.facts.k3s, desired.request
    if request.role == "server" and k3s.datastore is None and request.join is None and not request.new_cluster:
        if request.expected_ca:
            yield refused(
                "cluster.second",
                "this would create a second cluster: one with another CA is recorded",
                f"recorded CA {request.expected_ca[:12]}..., and no datastore on this host",
                "restore this server from a snapshot, or allow a new cluster with --new-cluster",
            )
        if request.others_are_members:
            yield refused(
                "cluster.second",
                "this would create a second cluster: other hosts are already members of one",
                "no datastore on this host",
                "restore this server, or uninstall K3s from the other hosts first",
            )
    expected = request.expected_ca
    if expected and k3s.ca_hash and effective.is_member and k3s.ca_hash != expected and not request.new_cluster:
        yield refused(
            "k3s.ca-mismatch",
            "this host belongs to another cluster",
            f"its CA is {k3s.ca_hash[:12]}..., recorded is {expected[:12]}...",
            "uninstall K3s from this host first, or correct cluster.lock",
        )


def own_token(_: Desired, effective: Effective, __: Comparison) -> Iterator[Failure]:
    """Refuse where the server's own token file may be stale."""
    found = token_unclear(effective)
    if found is not None:
        yield found


def token(desired: Desired, effective: Effective, *, wants_token: bool) -> Iterator[Failure]:
    """Refuse a join without a token, or with one of another cluster or of another form."""
    request = desired.request
    join = request.join
    if join is None:
        if request.role == "agent":
            yield refused("request.no-server", "an agent needs a server to join", remedy="add --server URL")
        return
    if join.token is None:
        if wants_token:
            yield refused(
                "k3s.no-token",
                "without a token, the join would create a second cluster or never end",
                join.server,
                "use the cluster's agent token (productive-k3s token, on a server)",
            )
        return
    found = parse_token(join.token.unmask()).ca_hash
    if not found:
        yield refused(
            "k3s.token-not-secure",
            "the token is not in the secure format, so its cluster cannot be checked",
            "it does not look like K10<64 hex digits>::<user>:<password>",
            "use what productive-k3s token prints on a server",
        )
        return
    known: Mapping[str, str] = {
        "recorded for this cluster": request.expected_ca or "",
        "trusted by this host": effective.facts.k3s.ca_hash if effective.is_member else "",
    }
    for owner, ca in known.items():
        if ca and ca != found:
            yield refused(
                "k3s.ca-mismatch",
                "the token belongs to another cluster",
                f"its CA is {found[:12]}..., {owner} is {ca[:12]}...",
                "use the token of this cluster's server",
            )
