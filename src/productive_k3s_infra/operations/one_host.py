"""The host that a person named by its node, and nothing asked of any other."""

from __future__ import annotations

from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.operations.session import Session, inventory_of
from productive_k3s_infra.workspace.record import read_record


async def host_called(session: Session, node: str) -> tuple[Host, Inventory]:
    """Return the node's host, and the inventory with it alone.

    Raises BadInput with the names that there are where NODE is none of them, StepFailed where its machine is not there.
    """
    survey = await session.provider.survey()
    inventory = inventory_of(session, survey)
    found = next((host for host in inventory.hosts if host.name == node), None)
    if found is None:
        raise _no_node(session, inventory, node)
    if found.assumed:
        machine = survey.machine(node)
        raise StepFailed(
            "its machine is not running",
            where=node,
            evidence=f"the provider reports: {machine.state if machine is not None else 'missing'}",
            remedy="pk3s apply creates or starts it",
            code="cluster.missing",
        )
    return found, Inventory(inventory.cluster, (found,))


def _no_node(session: Session, inventory: Inventory, node: str) -> BadInput:
    record = read_record(session.workspace.folder, session.spec.name)
    names = ", ".join(host.name for host in inventory.hosts)
    if record is not None and node in record.hosts:
        reach = record.hosts[node]
        return BadInput(
            "the file no longer names it",
            where=node,
            evidence=f"it was at {reach.user}@{reach.address}:{reach.port} when pk3s last saw it; nodes: {names}",
            remedy="log in there with ssh, or put it back into the file",
            code="node.gone",
        )
    return BadInput(
        "no node of the file has that name",
        where=node,
        evidence=f"nodes: {names}",
        remedy="correct its name",
        code="node.unknown",
    )
