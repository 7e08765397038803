"""PURE: what separates a host from its request. The host runs this before it changes anything, and pk3s to plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Tuple

from productive_k3s.failure import Failure

Impact = Literal["read", "change", "disrupt"]
Action = Literal[
    "install-binary",
    "install-images",
    "write-file",
    "write-secret",
    "make-links",
    "remove-file",
    "enable-unit",
    "start-unit",
    "restart-unit",
    "wait-ready",
    "label-node",
]


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


@dataclass(frozen=True)
class Assessment:
    """Vetoes (nothing may be changed), the changes in order, and why nothing is done where nothing is."""

    vetoes: Tuple[Failure, ...]
    changes: Tuple[Change, ...]
    notes: Tuple[str, ...]
