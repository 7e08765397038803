"""PURE: what one look at the hosts gave, and what they found when they tried each other's ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from productive_k3s.contract.facts import Facts
from productive_k3s_infra.errors import Pk3sError


@dataclass(frozen=True)
class Measured:
    """Facts of one host, and how far its clock is from ours: between `ahead_at_least` and `ahead_at_most` seconds."""

    facts: Facts
    ahead_at_least: float
    ahead_at_most: float


@dataclass(frozen=True)
class Observed:
    """What one look at all hosts gave. A host is in exactly one of the two mappings."""

    measured: Mapping[str, Measured]
    unreachable: Mapping[str, Pk3sError]

    @property
    def facts(self) -> dict[str, Facts]:
        """The facts by host name."""
        return {name: measured.facts for name, measured in self.measured.items()}


@dataclass(frozen=True)
class Probe:
    """One attempt: `cause` is '' if `source` reached `target` on `port` ("tcp/6443")."""

    source: str
    target: str
    port: str
    cause: str


@dataclass(frozen=True)
class Listening:
    """A place where somebody listens already, or one that leads to a host of ours: where nodes join.

    `sources` are the hosts that will use it, `name` is what a person calls it if not by its address.
    """

    address: str
    port: str
    sources: tuple[str, ...]
    name: str = ""
