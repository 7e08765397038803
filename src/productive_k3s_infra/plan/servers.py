"""PURE: which server founds the cluster, and which one is asked about it."""

from __future__ import annotations

from productive_k3s.contract.facts import ClusterFacts
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.plan.requests import Situation


def live_server(situation: Situation) -> tuple[Host, ClusterFacts] | None:
    """Return the first server in file order through which the cluster answers, and what it says of it."""
    for host in situation.inventory.servers:
        facts = situation.facts.get(host.name)
        if facts is not None and facts.cluster is not None and facts.cluster.reachable:
            return host, facts.cluster
    return None


def has_members(situation: Situation) -> bool:
    """Whether a server of the file has a datastore: a cluster was founded here."""
    found = (situation.facts.get(host.name) for host in situation.inventory.servers)
    return any(facts is not None and facts.k3s.datastore is not None for facts in found)


def asked_server(situation: Situation) -> Host:
    """Return the server that is asked for what a live cluster knows; the founder where nobody answers yet."""
    asked = live_server(situation)
    return asked[0] if asked is not None else situation.inventory.founder
