"""PURE: what `pk3s init --from-host` wrote, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from productive_k3s_infra.plan.text import plan_lines

if TYPE_CHECKING:
    from productive_k3s_infra.operations.from_host import Adopted


def adopted_lines(adopted: Adopted) -> Iterator[str]:
    """Show what the cluster is, what the file does not say, and the plan on it."""
    cluster = adopted.cluster
    agents = len(cluster.agents)
    k3s = cluster.server.facts.k3s
    count = "1 agent" if agents == 1 else f"{agents} agents"
    yield f"wrote {adopted.file} and cluster.lock: 1 server, {count}, K3s {k3s.binary_version}, {k3s.datastore}"
    for remark in adopted.content.remarks:
        yield f"note: {remark}"
    yield "The first plan for it, without the release's files:"
    yield from plan_lines(adopted.plan)
    yield f"commit {adopted.file.name}, cluster-file.schema.json, cluster.lock and known_hosts"
    yield f"next: pk3s plan -f {adopted.file}"
