"""PURE: what a cluster is made of, as one digest: for it a full validation has passed once, or has not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Mapping

from productive_k3s.contract.expectation import Expectation
from productive_k3s.contract.facts import Facts


def state_of(wanted: Expectation, facts: Mapping[str, Facts]) -> str:
    """Return the digest of version, nodes and what their hosts' K3s reads at a start; '' if a host is not known.

    `facts` are by the node's name. All drivers note this digest (effects.passed), so one knows what another has tried.
    """
    hosts = {}
    for node in wanted.nodes:
        found = facts.get(node.name)
        if found is None or found.k3s.on_disk is None:
            return ""
        hosts[node.name] = asdict(found.k3s.on_disk)
    nodes = sorted((node.name, node.role, node.address) for node in wanted.nodes)
    document = json.dumps([wanted.version, nodes, hosts], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()
