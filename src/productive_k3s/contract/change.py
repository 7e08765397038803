"""PURE: one effect on a host, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Mapping, Tuple

Impact = Literal["read", "change", "disrupt"]
Action = Literal[
    "install-binary",
    "install-images",
    "write-file",
    "write-secret",
    "make-links",
    "set-label",
    "remove-file",
    "enable-unit",
    "start-unit",
    "restart-unit",
    "wait-ready",
    "watch-node",
    "label-node",
    "taint-node",
    "stop-unit",
    "kill-all",
    "remove-files",
    "write-hosts",
    "remove-hosts",
]
_DOING: Mapping[Action, str] = {
    "install-binary": "install",
    "install-images": "install",
    "write-file": "write",
    "write-secret": "write",
    "make-links": "link",
    "set-label": "label",
    "remove-file": "remove",
    "enable-unit": "enable",
    "start-unit": "start",
    "restart-unit": "restart",
    "wait-ready": "wait for",
    "watch-node": "watch",
    "label-node": "label node",
    "taint-node": "taint node",
    "stop-unit": "stop",
    "kill-all": "end",
    "remove-files": "remove",
    "write-hosts": "write the cluster's names into",
    "remove-hosts": "remove the cluster's names from",
}


@dataclass(frozen=True)
class Change:
    """One effect on the host. `id` is stable between planning and running (`write:/etc/rancher/k3s/config.yaml`).

    `diff` is a unified line diff of what may be shown; it never holds a secret.
    """

    id: str
    action: Action
    target: str
    reason: str
    impact: Impact
    diff: Tuple[str, ...] = ()


def in_words(change: Change) -> str:
    """Return what is being done and why, for people who watch."""
    return f"{_DOING[change.action]} {change.target} ({change.reason})"
