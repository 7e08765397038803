"""What lies on this computer: the cluster file, the recorded cluster, the last journals."""

from __future__ import annotations

import yaml

from productive_k3s.contract.redaction import redact
from productive_k3s_infra.support import texts
from productive_k3s_infra.support.bundle import Collection
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.journal import list_journals

_JOURNALS = 5


def add_files(workspace: Workspace, cluster_file: str, found: Collection) -> None:
    """Add the cluster file's text, cluster.lock and journals, without their secrets."""
    try:
        found.add(
            "cluster.yaml", texts.masked_cluster_file(cluster_file), "cluster file; variables as they are written"
        )
    except yaml.YAMLError as error:
        found.missing.append(f"cluster.yaml: it cannot be read, so its secrets cannot be found ({error})")
    if workspace.lock_file.exists():
        found.add("cluster.lock", redact(workspace.lock_file.read_text(encoding="utf-8")), "the recorded cluster")
    for number, journal in enumerate(reversed(list_journals(workspace)[-_JOURNALS:]), 1):
        lines = journal.read_text(encoding="utf-8", errors="replace")
        found.add(f"journal/{number}.jsonl", texts.journal(lines, found.secrets), f"journal {journal.name}")
