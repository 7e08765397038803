"""PURE: what a preflight rule is given, what it is, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from productive_k3s.contract.facts import Facts
from productive_k3s.k3s import config_file
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.inventory.model import Host, Inventory, Role
from productive_k3s_infra.inventory.observed import Observed, Probe
from productive_k3s_infra.plan.model import ClusterRecord

Severity = Literal["error", "warning", "info"]
_STARTED = ("active", "activating", "reloading")


@dataclass(frozen=True)
class PreflightContext:
    """Everything that is known before anything is changed. `probes` None: the ports were not tried between hosts."""

    spec: ClusterSpec
    inventory: Inventory
    observed: Observed
    probes: tuple[Probe, ...] | None = None
    record: ClusterRecord | None = None

    @cached_property
    def measured(self) -> tuple[tuple[Host, Facts], ...]:
        """The hosts that were asked and answered, in file order."""
        facts = self.observed.facts
        return tuple((host, facts[host.name]) for host in self.inventory.hosts if host.name in facts)

    @cached_property
    def _flags(self) -> Mapping[Role, Mapping[str, list[str]]]:
        k3s = self.spec.k3s
        return {"server": config_file.canonical(k3s.server), "agent": config_file.canonical(k3s.agent)}

    def flag(self, role: Role, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return what a K3s flag is asked to be for a role, comma-separated values taken apart."""
        values = self._flags[role].get(name) or default
        return tuple(part.strip() for value in values for part in value.split(",") if part.strip())

    def flag_of(self, host: Host, name: str) -> tuple[str, ...]:
        """Return what a K3s flag is asked to be on one host: by the node itself, else for its role."""
        node = next((node for node in self.spec.nodes if node.name == host.name), None)
        own = config_file.canonical(dict(node.k3s.flags)).get(name) if node is not None else None
        if own is None:
            return self.flag(host.role, name)
        return tuple(part.strip() for value in own for part in value.split(",") if part.strip())

    @property
    def minor(self) -> int | None:
        """The Kubernetes minor version that is asked for."""
        match = re.match(r"v\d+\.(\d+)\.", self.spec.k3s.version)
        return int(match.group(1)) if match else None


@dataclass(frozen=True)
class Finding:
    """One answer of a rule. Without a `severity` or `remedy` those of the rule hold."""

    subject: str
    passed: bool
    message: str
    evidence: str = ""
    severity: Severity | None = None
    remedy: str = ""


@dataclass(frozen=True)
class Rule:
    """One question about hosts, and all that the documentation says of it.

    `severities` are those that a failure of it can have, worst first; `wants` says what passes, with the thresholds;
    `source` where those come from; `remedy` is for people.
    """

    id: str
    severities: tuple[Severity, ...]
    wants: str
    source: str
    remedy: str
    judge: Callable[[PreflightContext], Iterable[Finding]]


JudgeHost = Callable[[PreflightContext, Host, Facts], Iterable[Finding]]


def each_host(judge: JudgeHost) -> Callable[[PreflightContext], Iterator[Finding]]:
    """Turn the judgement of one host into one of all that answered."""

    def judge_all(look: PreflightContext) -> Iterator[Finding]:
        for host, facts in look.measured:
            yield from judge(look, host, facts)

    return judge_all


def runs_k3s(facts: Facts) -> bool:
    """Whether K3s has the host's ports: its unit is started, or being started again and again."""
    return facts.k3s.role is not None and any(unit.active_state in _STARTED for unit in facts.k3s.units)


def gigabytes(size: float) -> str:
    """Return a size for people, in the decimal units in which requirements are written."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
