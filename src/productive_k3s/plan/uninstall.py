"""PURE: what an uninstallation takes off this host, what dies with it, and why it must not be."""

from __future__ import annotations

import re
from typing import Iterator, Optional, Tuple

from productive_k3s.contract.change import Action, Change, Impact
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure, bad_input, refused
from productive_k3s.k3s import paths
from productive_k3s.k3s.token import SHOWN_LENGTH
from productive_k3s.plan import hosts

# What stands for the cluster of a host that cannot say any more which one it belonged to.
UNKNOWN = "unknown"
_NAMED = re.compile(r"[0-9a-f]{8,64}")


def changes(facts: Facts) -> Tuple[Change, ...]:
    """Return what an uninstallation does on this host, () where there is nothing of K3s."""
    names = hosts.removals(facts)
    if not _has_traces(facts):
        return names
    # systemctl refuses to stop a unit that is not there, which an uninstallation that was cut leaves behind.
    there = [unit for unit in facts.k3s.units if unit.load_state != "not-found" or unit.main_pid]
    units = tuple(unit.name.split(".")[0] for unit in there)
    running = "containers, mounts, interfaces, routes and firewall rules remain after the service stops"
    return (
        *(_change(f"stop:{unit}", "stop-unit", unit, "K3s is uninstalled from this host", "disrupt") for unit in units),
        _change("killall:host", "kill-all", "what K3s started", running, "disrupt"),
        _change("files:host", "remove-files", "files", "configuration, data, programs and units of K3s", "disrupt"),
        *names,
    )


def _has_traces(facts: Facts) -> bool:
    k3s = facts.k3s
    traces = (k3s.role, k3s.binary, k3s.scripts, k3s.config_files, k3s.tokens, k3s.leftovers, k3s.staged)
    # A kubectl of somebody else is no trace of K3s.
    links = [target for target in k3s.links.values() if target in ("k3s", paths.BINARY)]
    return any((*traces, links, k3s.has_node_password, has_something_to_lose(facts)))


def _change(name: str, action: Action, target: str, reason: str, impact: Impact) -> Change:
    return Change(name, action, target, reason, impact)


def has_something_to_lose(facts: Facts) -> bool:
    """Whether this host is or was of a cluster: else nobody can be wrong about which one."""
    k3s = facts.k3s
    # A node's name without the two is that of its kubelet's certificate. Its password alone lets nobody in.
    return bool(k3s.datastore or k3s.ca_hash or k3s.node_name)


def cluster_of(facts: Facts) -> str:
    """Return the hash of the CA of this host's cluster, '' where nothing on it says that.

    A host whose CA is lost, or that never was let in, may still have a token that names its cluster.
    """
    named = {token.ca_hash for token in facts.k3s.tokens if token.ca_hash}
    return facts.k3s.ca_hash or (next(iter(named)) if len(named) == 1 else "")


def cluster_in_words(facts: Facts) -> str:
    """Say which cluster this host belongs to, as `--cluster` takes it."""
    found = cluster_of(facts)
    return f"cluster {found[:SHOWN_LENGTH]}" if found else "an unknown cluster"


def what_dies(facts: Facts) -> Tuple[str, ...]:
    """Say what is lost for ever with an uninstallation, one thing each."""
    k3s = facts.k3s
    found = []
    if k3s.datastore in ("etcd", "sqlite"):
        found.append(f"the {k3s.datastore} datastore in {paths.DATA}/server/db, with the complete state of the cluster")
    if k3s.role != "agent" and any(token.path == paths.CLUSTER_SERVER_TOKEN for token in k3s.tokens):
        found.append("the server's token and the cluster's keys: no backup of the datastore can be read without them")
    if k3s.role is not None or k3s.node_name:
        found.append(
            f"the node {k3s.node_name or facts.host.hostname.lower()}: its pods, credentials and local volumes"
        )
    return tuple(found)


def vetoes(facts: Facts, cluster: Optional[str], *, yes: bool, force: bool) -> Tuple[Failure, ...]:
    """Return why K3s must not be taken off this host.

    `cluster` is the cluster that is meant: the first 8 to 64 digits of its CA's hash, or `unknown`. `yes` agrees to
    lose what is in its datastore, `force` to leave living members behind; neither is about which cluster it is.
    """
    found = [*_other_cluster(facts, cluster), *(() if force else _members(facts))]
    if facts.k3s.datastore in ("etcd", "sqlite") and not yes:
        found.append(
            refused(
                "cluster.would-be-lost",
                "this removes a server and everything in its datastore",
                "; ".join(what_dies(facts)),
                "confirm with --yes (--plan shows what is removed)",
            )
        )
    return tuple(found)


def _other_cluster(facts: Facts, cluster: Optional[str]) -> Iterator[Failure]:
    """Yield why the host may be another one than was meant: one wrong address is enough to lose a living cluster."""
    if cluster is not None and cluster != UNKNOWN and not _NAMED.fullmatch(cluster):
        what = "--cluster needs the first 8 to 64 digits of the hash of the cluster's CA, or `unknown`"
        yield bad_input("request.flag", what, cluster, "see ca_hash in productive-k3s facts")
        return
    found = cluster_of(facts)
    if not found:
        if has_something_to_lose(facts) and cluster != UNKNOWN:
            yield refused(
                "cluster.unknown",
                "nothing on this host shows any longer which cluster it belongs to",
                f"neither a CA nor a token identifies one; this also deletes: {'; '.join(what_dies(facts))}",
                "make sure that it is the right host, then use --cluster unknown on it",
            )
    elif cluster is None:
        if has_something_to_lose(facts):
            yield refused(
                "cluster.not-named",
                "this host belongs to a cluster, and the command does not name that cluster",
                f"{facts.k3s.role or 'leftovers'} of {facts.k3s.node_name or facts.host.hostname}",
                f"productive-k3s facts shows which one: give its first {SHOWN_LENGTH} digits with --cluster",
            )
    elif cluster == UNKNOWN:
        yield refused(
            "cluster.known",
            "this host does show which cluster it belongs to",
            f"ca_hash in productive-k3s facts; this also deletes: {'; '.join(what_dies(facts))}",
            f"give its first {SHOWN_LENGTH} digits with --cluster",
        )
    elif not found.startswith(cluster):
        yield refused(
            "k3s.ca-mismatch",
            "this host belongs to another cluster, so nothing is removed from it",
            f"its CA is {found[:SHOWN_LENGTH]}..., but the command names {cluster[:SHOWN_LENGTH]}...",
            "correct the host's address, or the record of the cluster",
        )


def _members(facts: Facts) -> Iterator[Failure]:
    """Yield why a server's cluster may live on elsewhere: not to know it is no sign that it does not."""
    if facts.k3s.role == "agent" or facts.k3s.datastore is None:
        return
    cluster = facts.cluster
    if cluster is None or not cluster.reachable:
        yield refused(
            "cluster.members-unknown",
            "whether other nodes belong to this server's cluster cannot be known",
            cluster.evidence if cluster is not None else "K3s does not run here",
            "start K3s, so that it can answer; or use --force if no node of the cluster has to survive",
        )
        return
    others = [node.name for node in cluster.nodes if node.name != facts.k3s.node_name]
    if others:
        yield refused(
            "cluster.has-members",
            "other nodes belong to this server's cluster",
            ", ".join(others),
            "remove them first (the agents before the server), or use --force",
        )
