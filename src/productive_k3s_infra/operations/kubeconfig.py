"""`pk3s kubeconfig`: a kubeconfig that works from this computer."""

from __future__ import annotations

from pathlib import Path

from productive_k3s_infra.errors import Pk3sError, StepFailed
from productive_k3s_infra.hosts.fleet.gathering import failed
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import KUBECONFIG, told
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of
from productive_k3s_infra.plan.requests import api_port
from productive_k3s_infra.workspace.directory import open_workspace
from productive_k3s_infra.workspace.kubeconfig import rewrite_kubeconfig, write_kubeconfig

_DEADLINE_SECONDS = 60.0


async def get_kubeconfig(session: Session) -> Path:
    """Fetch the admin's kubeconfig from a server and return where it lies here (0600)."""
    survey = await survey_of(session)
    inventory = inventory_of(session, survey)
    if all(server.assumed for server in inventory.servers):
        raise StepFailed(
            "there is no cluster yet",
            where=inventory.founder.name,
            evidence="its machine is not running",
            remedy="pk3s apply",
            code="cluster.missing",
        )
    async with fleet_of(session, inventory) as fleet:
        await fetch_kubeconfig(session, inventory, fleet)
    return session.workspace.kubeconfig


async def fetch_kubeconfig(session: Session, inventory: Inventory, fleet: Fleet) -> str:
    """Write the kubeconfig of the first server that gives one into the cluster directory, and return its text.

    Raises the founder's error where none does.
    """
    errors: list[Pk3sError] = []
    for server in inventory.servers:
        if server.assumed:
            continue
        try:
            text = rewrite_kubeconfig(
                await _ask(session, server, fleet),
                address=session.spec.k3s.api_address or server.public_address or server.address,
                port=api_port(session.spec),
                context=session.spec.name,
            )
        except Pk3sError as error:
            errors.append(error)
            continue
        open_workspace(session.workspace.cluster_file, session.workspace.cluster)
        write_kubeconfig(session.workspace, text)
        return text
    raise errors[0]


async def _ask(session: Session, server: Host, fleet: Fleet) -> str:
    with told(session.interaction, server.name, KUBECONFIG):
        host = await fleet.session(server.name)
        result = await host.call("kubeconfig", deadline_seconds=_DEADLINE_SECONDS)
        if not result.data:
            raise failed(server.name, result)
    return str(result.data["kubeconfig"])
