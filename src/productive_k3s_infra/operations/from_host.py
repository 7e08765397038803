"""`pk3s init --from-host`: read a cluster that runs, whoever made it, and write the cluster file that says it.

Nothing is changed on a host, and nothing here before all that was found can be said: then `cluster.lock` and the file
are written. Host keys that a person accepts go into `known_hosts` beside the file, as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from productive_k3s_infra.adopt.document import AdoptedFile, Reach, adopt
from productive_k3s_infra.adopt.first_look import first_plan, render
from productive_k3s_infra.adopt.running_cluster import RunningCluster, RunningHost, require_one_cluster
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.cluster_file.first_file import release_source, shown_key
from productive_k3s_infra.cluster_file.load import load_cluster_text
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import BadInput, ClusterFileInvalid
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import Telling
from productive_k3s_infra.hosts.named_hosts import Named, named_hosts
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.model import Endpoint, Inventory
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.progress.interaction import Interaction
from productive_k3s_infra.workspace.cluster_file import require_free, write_cluster_file
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.record import read_record, write_record


@dataclass(frozen=True)
class ToAdopt:
    """What the command line says: the cluster's name, its hosts, and where artifacts come from; '' is not said."""

    name: str
    hosts: Named
    artifacts: str = ""


@dataclass(frozen=True)
class Adopted:
    """What was written, and the first plan on it: what pk3s would do to the hosts as they were seen."""

    file: Path
    cluster: RunningCluster
    content: AdoptedFile
    plan: Plan


async def init_from_hosts(
    file: Path, wanted: ToAdopt, environment: Mapping[str, str], interaction: Interaction
) -> Adopted:
    """Look at the hosts and write the file; raises BadInput for hosts that cannot be one cluster of it."""
    require_free(file)
    workspace = Workspace(file, wanted.name)
    inventory = await asyncio.to_thread(named_hosts, wanted.name, wanted.hosts, OpenSsh().login)
    fleet = SshFleet(
        inventory,
        program=build_program(),
        known_hosts=workspace.known_hosts,
        trust=interaction.trust_host_key,
        ask_sudo=interaction.sudo_password,
    )
    try:
        found = await look_at(inventory, fleet, interaction)
    finally:
        await fleet.close()
    return write_adopted(file, wanted, environment, found)


def write_adopted(file: Path, wanted: ToAdopt, environment: Mapping[str, str], found: Sequence[RunningHost]) -> Adopted:
    """Write cluster.lock and the file of what was found, or nothing; see `init_from_hosts`."""
    workspace = Workspace(file, wanted.name)
    cluster = require_one_cluster(found)
    content = adopt(
        wanted.name, cluster, _reach(wanted.hosts, file, cluster.server.endpoint), release_source(wanted.artifacts)
    )
    _require_same_record(workspace, content)
    text = render(content)
    spec = load_text(text, file, {**content.variables, **environment})
    plan = first_plan(spec, cluster, content)
    write_record(workspace.folder, workspace.cluster, content.record)
    write_cluster_file(file, text)
    return Adopted(file, cluster, content, plan)


async def look_at(inventory: Inventory, fleet: Fleet, telling: Telling | None = None) -> tuple[RunningHost, ...]:
    """Ask every host for its facts; raises the error of the first that cannot be asked."""
    observed = await gather(inventory, fleet, telling)
    for error in observed.unreachable.values():
        raise error
    facts = observed.facts
    return tuple(RunningHost(host.name, host.endpoint, facts[host.name]) for host in inventory.hosts)


def _reach(named: Named, file: Path, first: Endpoint) -> Reach:
    """Return how hosts were reached: a colleague's OpenSSH configuration may say less."""
    user, port = named.user or first.user, named.port or first.port
    return Reach(user, port, shown_key(named.key, file) if named.key else "", named.jump)


def _require_same_record(workspace: Workspace, content: AdoptedFile) -> None:
    record = read_record(workspace.folder, workspace.cluster)
    if record is not None and record.ca_hash != content.record.ca_hash:
        raise BadInput(
            "cluster.lock in this folder records another cluster of that name",
            where=str(workspace.lock_file),
            evidence=f"its CA is {record.ca_hash[:12]}..., that of these hosts {content.record.ca_hash[:12]}...",
            remedy="choose another --name, or a folder of its own: -f FOLDER/cluster.yaml",
            code="init.lock",
        )


def load_text(text: str, file: Path, environment: Mapping[str, str]) -> ClusterSpec:
    """Read the text as the next run will; raises BadInput if no cluster file can say what these hosts have."""
    try:
        return load_cluster_text(text, file, environment)
    except ClusterFileInvalid as error:
        raise BadInput(
            "a cluster file cannot describe what these hosts have",
            where=str(file),
            evidence="; ".join(str(item).replace(f"{file}:", "line ") for item in error.mistakes),
            remedy="change it on the hosts first, in the way they were set up; nothing was written",
            code="init.cannot-say",
        ) from error
