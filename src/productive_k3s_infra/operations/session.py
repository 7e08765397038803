"""What every verb works on: the cluster file's spec, its directory, its provider, and the person in front."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import Refused
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import MACHINES, told
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.build import build_inventory
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.progress.interaction import Interaction
from productive_k3s_infra.providers.protocol import Provider, Survey
from productive_k3s_infra.providers.registry import provider_of
from productive_k3s_infra.workspace.directory import Workspace


@dataclass(frozen=True)
class Session:
    """One run of pk3s on one cluster file. Nothing was touched yet when it is made."""

    spec: ClusterSpec
    workspace: Workspace
    provider: Provider
    interaction: Interaction
    openssh: OpenSsh = field(default_factory=OpenSsh)


def open_session(file: Path, environment: Mapping[str, str], interaction: Interaction) -> Session:
    """Read the cluster file; raises ClusterFileInvalid with every mistake in it."""
    spec = load_cluster_file(file, environment)
    workspace = Workspace(file, spec.name)
    openssh = OpenSsh()
    return Session(spec, workspace, provider_of(spec, workspace, openssh.login), interaction, openssh)


async def survey_of(session: Session) -> Survey:
    """Look at the machines, and tell so where there are any to look at."""
    provider = session.spec.provider
    with told(session.interaction if provider.capabilities.makes_machines else None, provider.kind, MACHINES):
        return await session.provider.survey()


def inventory_of(session: Session, survey: Survey) -> Inventory:
    """Return the inventory: machines that run are real, the others assumed."""
    found = {
        machine.name: machine.location
        for machine in survey.machines
        if machine.state == "running" and machine.location is not None
    }
    return build_inventory(session.spec, found)


def running_inventory_of(session: Session, survey: Survey) -> Inventory:
    """Return the inventory of a cluster whose machines all run; raises Refused naming those that do not."""
    inventory = inventory_of(session, survey)
    missing = [host.name for host in inventory.hosts if host.assumed]
    if missing:
        raise Refused(
            "machines of this cluster are not running",
            where=", ".join(missing),
            remedy="pk3s apply creates or starts them",
            code="cluster.missing",
        )
    return inventory


@asynccontextmanager
async def fleet_of(session: Session, inventory: Inventory) -> AsyncIterator[Fleet]:
    """Give the fleet of an inventory; its connections are closed when the block ends."""
    fleet = SshFleet(
        inventory,
        program=build_program(),
        known_hosts=session.workspace.known_hosts,
        trust=session.interaction.trust_host_key,
        ask_sudo=session.interaction.sudo_password,
        openssh=session.openssh,
    )
    try:
        yield fleet
    finally:
        await fleet.close()
