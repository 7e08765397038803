"""PURE: how hosts and nodes are, put together from one look: what is known, and what is not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.facts import Facts, NodeFact
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.plan.folding import folded
from productive_k3s_infra.plan.marks import counted
from productive_k3s_infra.providers.protocol import Survey


@dataclass(frozen=True)
class HostStatus:
    """What one host looks like. Empty strings are what is not known; `note` says why, or what stands out.

    `machine` is what the provider sees, `declared` where there is no provider that could; `reached` None: not asked.
    """

    name: str
    role: str
    address: str
    machine: str
    service: str = ""
    version: str = ""
    ready: bool | None = None
    note: str = ""
    reached: bool | None = None

    @property
    def is_well(self) -> bool:
        """Whether it is known that K3s runs and the node is Ready."""
        return self.service == "active" and self.ready is True


@dataclass(frozen=True)
class Status:
    """The hosts in file order, then nodes of the cluster that are not in the file."""

    cluster: str
    hosts: tuple[HostStatus, ...]
    undeclared_nodes: tuple[str, ...] = ()

    @property
    def unreached(self) -> tuple[str, ...]:
        """The hosts that should answer and did not."""
        return tuple(host.name for host in self.hosts if host.reached is False)

    @property
    def not_ready(self) -> tuple[str, ...]:
        """The hosts of which it is known that their node is not Ready, or that K3s does not run there."""
        return tuple(host.name for host in self.hosts if host.reached is not False and not host.is_well)

    @property
    def exit_code(self) -> int:
        """0 where all is Ready; 5 where a host was not reached; 6 where a node is not Ready or not there."""
        return ExitCode.FAILED if self.unreached else ExitCode.INVALID if self.not_ready else 0

    @property
    def verdict(self) -> str:
        """What is known of all hosts, in one sentence."""
        total, bad = len(self.hosts), [*self.unreached, *self.not_ready]
        ready = f"{total - len(bad)} of {counted(total, 'node')}"
        said = [f"{ready} is Ready" if total == 1 else f"{ready} are Ready"]
        said += [f"not reached: {folded(self.unreached)}"] if self.unreached else []
        said += [f"not Ready: {folded(self.not_ready)}"] if self.not_ready else []
        return "; ".join(said)


def differences(status: Status, version: str) -> tuple[str, ...]:
    """Say what is not as the file declares it, of `version` too; what is not known is no sameness."""
    said = [f"not reached: {folded(status.unreached)}"] if status.unreached else []
    said += [f"not Ready: {folded(status.not_ready)}"] if status.not_ready else []
    other = [f"{host.name} has {host.version}" for host in status.hosts if host.version not in {"", version}]
    said += [f"not {version}: {folded(other)}"] if other else []
    undeclared = folded(status.undeclared_nodes)
    said += [f"in the cluster, but not in the file: {undeclared}"] if undeclared else []
    return tuple(said)


def status_of(survey: Survey, inventory: Inventory, observed: Observed) -> Status:
    """PURE: put the looks together."""
    nodes = _nodes(observed)
    declared = {host.name for host in inventory.hosts}
    hosts = tuple(_host(host, survey, observed, nodes) for host in inventory.hosts)
    return Status(inventory.cluster, hosts, tuple(name for name in nodes if name not in declared))


def _nodes(observed: Observed) -> dict[str, NodeFact]:
    for facts in observed.facts.values():
        if facts.cluster is not None and facts.cluster.reachable:
            return {node.name: node for node in facts.cluster.nodes}
    return {}


def _host(host: Host, survey: Survey, observed: Observed, nodes: dict[str, NodeFact]) -> HostStatus:
    machine = survey.machine(host.name)
    state = machine.state if machine is not None else "missing"
    node = nodes.get(host.name)
    base = HostStatus(
        host.name,
        host.role,
        "" if host.assumed else host.address,
        # What nobody made and nobody watches does not "run": it stands in the file.
        state if survey.owns_machines else "declared",
        ready=node.ready if node is not None else None,
    )
    if host.name in observed.unreachable:
        error = observed.unreachable[host.name]
        return replace(base, note=f"{error.what} [{error.code}]", reached=False)
    facts = observed.facts.get(host.name)
    if facts is None:
        return base
    return replace(
        base, service=_service(facts), version=facts.k3s.binary_version, note=_note(facts, node), reached=True
    )


def _service(facts: Facts) -> str:
    if not facts.k3s.units:
        return "not installed"
    unit = facts.k3s.units[0]
    return unit.active_state if unit.active_state == "active" else f"{unit.active_state} ({unit.sub_state})"


def _note(facts: Facts, node: NodeFact | None) -> str:
    notes = []
    if facts.k3s.units and facts.k3s.units[0].restarts:
        notes.append(f"restarted {counted(facts.k3s.units[0].restarts, 'time')} by systemd")
    if node is not None and not node.schedulable:
        notes.append("cordoned")
    if facts.k3s.running is not None and facts.k3s.running.digests not in (None, facts.k3s.on_disk):
        notes.append("the files on disk differ from those it was started with")
    return "; ".join(notes)
