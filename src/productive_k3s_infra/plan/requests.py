"""PURE: what each host is asked, from the spec, the inventory and what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import Join, Request
from productive_k3s.plan.effective import is_member
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.inventory.survey import Survey
from productive_k3s_infra.plan.host_network import (
    api_names,
    environment,
    hosts_file,
    is_ip,
    registration_address,
    secrets_of,
)
from productive_k3s_infra.plan.mark import MARK
from productive_k3s_infra.plan.model import ClusterRecord, ReleaseFiles

API_PORT = 6443
NO_MACHINES = Survey(owns_machines=False, machines=())


@dataclass(frozen=True)
class Leaving:
    """A host that the file does not name any more: its facts, or why it did not give them."""

    host: Host
    facts: Facts | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Situation:
    """Everything a plan depends on. `facts` holds the hosts that were reached, and assumed facts of machines to come.

    `files` has the release's files by architecture; `record` is what cluster.lock remembers, None before the first
    apply. `survey` is what the provider saw of the machines, `replacing` names those that shall be made anew.
    `unreached` says why hosts that exist are not among the facts. `leaving` are hosts, nobody's machines, that the file
    does not name any more: cluster.lock knows how they were reached. `notes` say what else could not be looked at.
    `limit` names the only nodes that are planned for (`plan/limit.py`); empty: all.
    """

    spec: ClusterSpec
    inventory: Inventory
    facts: Mapping[str, Facts]
    files: Mapping[str, ReleaseFiles] = field(default_factory=dict)
    record: ClusterRecord | None = None
    new_cluster: bool = False
    survey: Survey = NO_MACHINES
    replacing: tuple[str, ...] = ()
    unreached: Mapping[str, Failure] = field(default_factory=dict)
    leaving: Mapping[str, Leaving] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    limit: frozenset[str] = frozenset()


def api_port(spec: ClusterSpec) -> int:
    """Return the port of the API and the supervisor (`https-listen-port`)."""
    return int(spec.k3s.server.get("https-listen-port", API_PORT))


def registration_url(situation: Situation) -> str:
    """Return where nodes join: as the file says, else the first server in file order as the other nodes reach it."""
    address = registration_address(situation.spec, situation.inventory)
    shown = f"[{address}]" if is_ip(address) and ":" in address else address
    return f"https://{shown}:{api_port(situation.spec)}"


def request_for(situation: Situation, host: Host) -> Request:
    """Return the whole request for one host. The token of a join is left out: it is filled in before sending."""
    spec, facts = situation.spec, situation.facts[host.name]
    files = situation.files.get(facts.host.os.arch)
    is_server = host.role == "server"
    node = next(node for node in spec.nodes if node.name == host.name)
    flags = spec.flags_of(node)
    told = flags.pop("node-ip", None)
    request = Request(
        mode=host.role,
        version=spec.k3s.version,
        binary=files.binary if files else None,
        images=files.images if files else (),
        node_name=host.name,
        node_ip=_node_ip(host, told),
        datastore=spec.k3s.datastore,
        tls_san=_names(situation, host) if is_server else (),
        config=flags,
        labels={MARK: spec.name, **host.labels},
        taints=host.taints,
        files=spec.files_of(node),
        join=None if is_server else Join(registration_url(situation)),
        expected_ca=situation.record.ca_hash if situation.record else None,
        new_cluster=situation.new_cluster and is_server,
        others_are_members=is_server and _others_are_members(situation, host),
        registries=spec.k3s.open_registries,
        secrets=secrets_of(spec),
        hosts_file=hosts_file(spec, situation.inventory) if spec.hosts_file else (),
    )
    return replace(request, environment=environment(spec, situation.inventory, request, facts))


def _node_ip(host: Host, told: object) -> str | None:
    """Return what the flags say, which with two families are two addresses; else the node's own, None for a name."""
    if told:
        return ",".join(map(str, told)) if isinstance(told, list | tuple) else str(told)
    return host.address if is_ip(host.address) else None


def _names(situation: Situation, host: Host) -> tuple[str, ...]:
    # K3s puts a server's own addresses into its certificate; what else leads to it, it cannot know: names,
    # and addresses that no interface has. They go nowhere else: with node-external-ip the API server would advertise
    # the public address to the nodes too.
    declared = situation.spec.k3s.tls_san
    own = () if is_ip(host.address) else (host.address,)
    found = dict.fromkeys((*declared, *own, *api_names(situation.spec, situation.inventory)))
    return tuple(name for name in found if name != host.address or name in (*declared, *own))


def _others_are_members(situation: Situation, host: Host) -> bool:
    return any(is_member(facts) for name, facts in situation.facts.items() if name != host.name)
