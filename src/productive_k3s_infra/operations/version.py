"""`pk3s version`: what this pk3s is, which K3s it knows, and what it runs on."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from productive_k3s import __version__
from productive_k3s.k3s import flags
from productive_k3s_infra.artifacts.program import build_program


@dataclass(frozen=True)
class Versions:
    """Versions of this installation.

    `k3s` is the newest release whose flags are known, `program` the SHA-256 of the host program as it is sent to hosts.
    """

    pk3s: str
    k3s: str
    python: str
    program: str


def get_versions() -> Versions:
    """Return the versions; nothing is asked of anybody."""
    return Versions(__version__, flags.table().newest, platform.python_version(), build_program().sha256)
