"""PURE: what brings the names of the cluster's nodes into the files that decide about names, and out again."""

from __future__ import annotations

import difflib
from typing import Optional, Sequence, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import Facts, HostsFile
from productive_k3s.contract.request import Request
from productive_k3s.k3s.hosts_file import lines, meaning


def changes(request: Request, facts: Facts) -> Tuple[Change, ...]:
    """Return what brings the names of the request into the files that decide about names, or takes them away.

    K3s asks for names anew whenever it needs them, so none of this restarts anything.
    """
    wanted = lines(request.hosts_file)
    found = (_change(file, wanted) for file in facts.host.hosts_files)
    return tuple(change for change in found if change is not None)


def removals(facts: Facts) -> Tuple[Change, ...]:
    """Return what takes the names away again."""
    found = (_change(file, ()) for file in facts.host.hosts_files)
    return tuple(change for change in found if change is not None)


def _change(file: HostsFile, wanted: Tuple[str, ...]) -> Optional[Change]:
    if meaning(file.block or ()) == meaning(wanted) and (file.block is not None) == bool(wanted):
        return None
    if wanted:
        reason = "the names of the cluster's nodes are missing" if not file.block else "names of the nodes differ"
        return Change(f"hosts:{file.path}", "write-hosts", file.path, reason, "change", _diff(file, wanted))
    reason = "the names of the nodes are no longer needed"
    return Change(f"hosts:{file.path}", "remove-hosts", file.path, reason, "change", _diff(file, ()))


def _diff(file: HostsFile, wanted: Sequence[str]) -> Tuple[str, ...]:
    names = {"fromfile": file.path, "tofile": file.path}
    return tuple(difflib.unified_diff(list(file.block or ()), list(wanted), lineterm="", n=2, **names))
