"""`pk3s init --from-host`: read a cluster that runs, whoever made it, and write the cluster file that says it.

Nothing is changed on a host, and nothing here before all that was found can be said: then `cluster.lock` and the file
are written. Host keys that a person accepts go into `known_hosts` beside the file, as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from productive_k3s_infra._files import at_home
from productive_k3s_infra.adopt.document import AdoptedFile, Reach, adopt
from productive_k3s_infra.adopt.running_cluster import FoundCluster, FoundHost, require_one_cluster
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.cluster_file.first_file import host_parts, release_source, shown_key
from productive_k3s_infra.cluster_file.load import load_cluster_text
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.cluster_file.provider import OnpremProvider
from productive_k3s_infra.errors import BadInput, ClusterFileInvalid
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.build import (
    DEFAULT_PORT,
    Login,
    LoginOf,
    build_inventory,
    declared_location,
    nothing_configured,
)
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.progress.interaction import Interaction
from productive_k3s_infra.workspace.cluster_file import require_free, write_cluster_file
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.record import read_record, write_record


@dataclass(frozen=True)
class ToAdopt:
    """What the command line says. `addresses` may be `user@host:port`; empty texts and 0 are not said."""

    name: str
    addresses: tuple[str, ...]
    user: str = ""
    port: int = 0
    key: str = ""
    jump: str = ""
    artifacts: str = ""


@dataclass(frozen=True)
class Adopted:
    """What was written, and the first plan on it: what pk3s would do to the hosts as they were seen."""

    file: Path
    cluster: FoundCluster
    content: AdoptedFile
    plan: Plan


async def init_from_hosts(
    file: Path, wanted: ToAdopt, environment: Mapping[str, str], interaction: Interaction
) -> Adopted:
    """Look at the hosts and write the file; raises BadInput for hosts that cannot be one cluster of it."""
    require_free(file)
    workspace = Workspace(file, wanted.name)
    inventory = await asyncio.to_thread(inventory_of, wanted, OpenSsh().login)
    fleet = SshFleet(
        inventory,
        program=build_program(),
        known_hosts=workspace.known_hosts,
        trust=interaction.trust_host_key,
        ask_sudo=interaction.sudo_password,
    )
    try:
        found = await look_at(inventory, fleet)
    finally:
        await fleet.close()
    return write_adopted(file, wanted, environment, found)


def write_adopted(file: Path, wanted: ToAdopt, environment: Mapping[str, str], found: Sequence[FoundHost]) -> Adopted:
    """Write cluster.lock and the file of what was found, or nothing; see `init_from_hosts`."""
    workspace = Workspace(file, wanted.name)
    cluster = require_one_cluster(found)
    content = adopt(
        wanted.name, cluster, _reach(wanted, file, cluster.server.endpoint), release_source(wanted.artifacts)
    )
    _require_same_record(workspace, content)
    text = render(content)
    spec = load_text(text, file, {**content.variables, **environment})
    plan = first_plan(spec, cluster, content)
    write_record(workspace.folder, workspace.cluster, content.record)
    write_cluster_file(file, text)
    return Adopted(file, cluster, content, plan)


def inventory_of(wanted: ToAdopt, login_of: LoginOf = nothing_configured) -> Inventory:
    """Return the hosts to ask, called as they were named; raises BadInput for an address that is none.

    What nobody says of a login, `login_of` may say, then the defaults.
    """
    jump = _endpoint(wanted.jump, wanted, Login(wanted.user or None), login_of) if wanted.jump else None
    said = Login(wanted.user or None, wanted.port or None)
    endpoints = {given: _endpoint(given, wanted, said, login_of) for given in wanted.addresses}
    hosts = (
        Host(given, "agent", endpoint.address, replace(endpoint, jump=jump)) for given, endpoint in endpoints.items()
    )
    return Inventory(wanted.name, tuple(hosts))


def _endpoint(given: str, wanted: ToAdopt, said: Login, login_of: LoginOf) -> Endpoint:
    parts = host_parts(given)
    address, user = str(parts["address"]), str(parts.get("user") or said.user or "") or None
    configured = login_of(address, user)
    return Endpoint(
        address=address,
        user=user or configured.user or OnpremProvider.capabilities.default_user,
        port=int(parts.get("port") or said.port or configured.port or DEFAULT_PORT),
        key=str(at_home(wanted.key).absolute()) if wanted.key else None,
    )


async def look_at(inventory: Inventory, fleet: Fleet) -> tuple[FoundHost, ...]:
    """Ask every host for its facts; raises the error of the first that cannot be asked."""
    observed = await gather(inventory, fleet)
    for error in observed.unreachable.values():
        raise error
    facts = observed.facts
    return tuple(FoundHost(host.name, host.endpoint, facts[host.name]) for host in inventory.hosts)


def _reach(wanted: ToAdopt, file: Path, first: Endpoint) -> Reach:
    """Return how hosts were reached: a colleague's OpenSSH configuration may say less."""
    user, port = wanted.user or first.user, wanted.port or first.port
    return Reach(user, port, shown_key(wanted.key, file) if wanted.key else "", wanted.jump)


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


def render(content: AdoptedFile) -> str:
    """PURE: return the file's text: remarks as comments at the top, then the document."""
    lines = ["Written by pk3s init --from-host: what the cluster was then. Edit it, and see what pk3s plan says of it."]
    if content.remarks:
        lines += ["", "What is not said below:", *(f"- {remark}" for remark in content.remarks)]
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return head + yaml.safe_dump(content.document, sort_keys=False, default_flow_style=False, width=110)


def load_text(text: str, file: Path, environment: Mapping[str, str]) -> ClusterSpec:
    """Read the text as the next run will; raises BadInput if no cluster file can say what these hosts have."""
    try:
        return load_cluster_text(text, file, environment)
    except ClusterFileInvalid as error:
        raise BadInput(
            "what these hosts have cannot be said in a cluster file",
            where=str(file),
            evidence="; ".join(str(item).replace(f"{file}:", "line ") for item in error.mistakes),
            remedy="change it on the hosts first, in the way they were set up; nothing was written",
            code="init.cannot-say",
        ) from error


def first_plan(spec: ClusterSpec, cluster: FoundCluster, content: AdoptedFile) -> Plan:
    """PURE: plan on what was just seen. The release's files are not looked up: the version runs on all hosts."""
    inventory = build_inventory(spec, {node.name: declared_location(spec, node) for node in spec.nodes})
    facts = {host.node_name: host.facts for host in cluster.hosts}
    return plan_stages(Situation(spec, inventory, facts, record=content.record))
