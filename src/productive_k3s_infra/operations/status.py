"""`pk3s status`: one line a host, from one look; nothing is judged and nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass

from productive_k3s.contract.facts import Facts, NodeFact
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of
from productive_k3s_infra.providers.protocol import Survey


@dataclass(frozen=True)
class HostStatus:
    """What one host looks like. Empty strings are what is not known; `note` says why, or what stands out."""

    name: str
    role: str
    address: str
    machine: str
    service: str = ""
    version: str = ""
    ready: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Status:
    """The hosts in file order, then nodes of the cluster that are not in the file."""

    cluster: str
    hosts: tuple[HostStatus, ...]
    undeclared_nodes: tuple[str, ...] = ()


async def get_status(session: Session) -> Status:
    """Look at machines, hosts and cluster."""
    survey = await session.provider.survey()
    inventory = inventory_of(session, survey)
    async with fleet_of(session, inventory) as fleet:
        observed = await gather(inventory, fleet)
    return status_of(survey, inventory, observed)


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
        host.name, host.role, "" if host.assumed else host.address, state, ready=node.ready if node else None
    )
    if host.name in observed.unreachable:
        error = observed.unreachable[host.name]
        return _with(base, note=f"{error.what} [{error.code}]")
    facts = observed.facts.get(host.name)
    if facts is None:
        return base
    return _with(base, service=_service(facts), version=facts.k3s.binary_version, note=_note(facts, node))


def _with(base: HostStatus, *, service: str = "", version: str = "", note: str = "") -> HostStatus:
    return HostStatus(base.name, base.role, base.address, base.machine, service, version, base.ready, note)


def _service(facts: Facts) -> str:
    if not facts.k3s.units:
        return "not installed"
    unit = facts.k3s.units[0]
    return unit.active_state if unit.active_state == "active" else f"{unit.active_state} ({unit.sub_state})"


def _note(facts: Facts, node: NodeFact | None) -> str:
    notes = []
    if facts.k3s.units and facts.k3s.units[0].restarts:
        notes.append(f"restarted {facts.k3s.units[0].restarts} times by systemd")
    if node is not None and not node.schedulable:
        notes.append("cordoned")
    if facts.k3s.running is not None and facts.k3s.running.digests not in (None, facts.k3s.on_disk):
        notes.append("runs with other files than lie on disk")
    return "; ".join(notes)
