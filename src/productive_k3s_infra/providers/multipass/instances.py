"""Which instances belong to a cluster, and what state each of its machines is in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from productive_k3s_infra.cluster_file.model import ClusterSpec, Machine, MultipassProvider, Node
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.inventory.survey import MachineState
from productive_k3s_infra.providers.multipass.answers import Instance, Listed, own_address, same_size
from productive_k3s_infra.providers.multipass.command import Wish
from productive_k3s_infra.providers.multipass.records import Record

# What K3s itself takes without a word in the file (docs.k3s.io, server flags).
_INNER = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
# Multipass' own (1 CPU, 1G, 5G) is less than a K3s server wants (docs.k3s.io, requirements: 2 cores, 2 GB).
DEFAULT = Machine(cpus=2, memory="4G", disk="20G")
_NAME_LENGTH = 63
_UP = frozenset({"Running", "Delayed Shutdown"})
# `start` resumes those too, and waits for one that is on its way up.
_DOWN = frozenset({"Stopped", "Suspended", "Suspending", "Starting", "Restarting"})


@dataclass(frozen=True)
class Own:
    """One instance of ours, as it was found; `instance` None: only its record is left."""

    record: Record
    instance: Instance | None = None
    address: str = ""

    @property
    def runs(self) -> bool:
        """Whether it should answer."""
        return self.instance is not None and self.instance.state in _UP

    @property
    def state(self) -> MachineState:
        """What the plan has to know. One that nobody has seen to answer yet is `broken`, and will be waited for."""
        if self.instance is None:
            return "missing"
        if self.instance.state in _DOWN:
            return "stopped"
        return "running" if self.runs and self.record.finished and self.address else "broken"

    @property
    def evidence(self) -> str:
        """What Multipass says."""
        return f"Multipass: {self.instance.state}" if self.instance is not None else ""


def instance_name(cluster: str, node: str) -> str:
    """Name the instance of a node, which is its host name too.

    Multipass wants a letter first and no dots (`launch --help`); RFC 1123 leaves 63 characters.
    """
    name = f"{cluster}-{node}".replace(".", "-")
    name = name if name[0].isalpha() else f"k3s-{name}"
    if len(name) <= _NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{name[: _NAME_LENGTH - 7].rstrip('-')}-{digest}"


def wish_of(spec: ClusterSpec, node: Node) -> Wish:
    """Return the instance that a node shall have."""
    provider = _provider(spec)
    size = node.machine.over(provider.machine).over(DEFAULT)
    name = instance_name(spec.name, node.name)
    return Wish(name, provider.image, size.cpus or 0, size.memory or "", size.disk or "")


def said_size(spec: ClusterSpec, node: Node) -> Machine:
    """Return the size that the file says; what it leaves out was chosen at the launch and is no matter afterwards."""
    return node.machine.over(_provider(spec).machine)


def differences(said: Machine, shown: Mapping[str, str]) -> tuple[str, ...]:
    """Compare the size that the file says with that of an instance (settings `cpus`, `memory`, `disk`)."""
    found = []
    if said.cpus is not None and str(said.cpus) != shown.get("cpus"):
        found.append(f"cpus is {shown.get('cpus')}, the file says {said.cpus}")
    for name, wanted in (("memory", said.memory), ("disk", said.disk)):
        if wanted is not None and not same_size(wanted, shown.get(name, "0B")):
            found.append(f"{name} is {shown.get(name)}, the file says {wanted}")
    return tuple(found)


def inner_networks(spec: ClusterSpec) -> tuple[IPv4Network, ...]:
    """Return the networks of pods and services: their addresses are inside every node, and not its own."""
    texts = (str(spec.k3s.server.get(flag, default)) for flag, default in _INNER.items())
    return tuple(IPv4Network(part) for text in texts for part in text.split(",") if ":" not in part)


def own_instances(spec: ClusterSpec, records: Mapping[str, Record], listed: Mapping[str, Listed]) -> dict[str, Own]:
    """Return our instances by node: those of the file in its order, then those that it does not name any more."""
    inner = inner_networks(spec)
    in_order = [*(node.name for node in spec.nodes if node.name in records), *records]
    found = {}
    for node in dict.fromkeys(in_order):
        instance = listed.get(records[node].instance)
        address = own_address(instance.ipv4, inner) if instance is not None else ""
        found[node] = Own(records[node], instance, address)
    return found


def taken(spec: ClusterSpec, own: Mapping[str, Own], listed: Mapping[str, Listed]) -> dict[str, str]:
    """Return the nodes whose instance's name belongs to somebody else, with that name."""
    names = {node.name: instance_name(spec.name, node.name) for node in spec.nodes}
    return {node: name for node, name in names.items() if name in listed and node not in own}


def name_taken(node: str, name: str) -> ProviderFailed:
    """An instance has the name that a node's instance shall get."""
    return ProviderFailed(
        f"an instance {name} exists that pk3s did not create for this cluster",
        where=node,
        evidence="there is no record of it in the cluster directory, or it does not have the host key from pk3s",
        remedy="give the cluster or the node another name in the cluster file; or delete that instance yourself: "
        f"multipass delete --purge {name}",
        code="multipass.name-taken",
    )


def deleted(node: str, name: str) -> ProviderFailed:
    """Our instance lies among the deleted ones, and may be wanted back."""
    return ProviderFailed(
        f"the instance {name} was deleted and not purged",
        where=node,
        evidence="Multipass: Deleted",
        remedy=f"bring it back: multipass recover {name}; or delete it for good: multipass delete --purge {name}; "
        "then apply again",
        code="multipass.deleted",
    )


def bad_state(node: str, name: str, state: str) -> ProviderFailed:
    """An instance is in a state out of which nothing here helps it."""
    return ProviderFailed(
        f"the instance {name} cannot be used",
        where=node,
        evidence=f"Multipass: {state}",
        remedy=f"check it: multipass info {name}, multipass restart {name}; then apply again",
        code="multipass.state",
    )


def no_address(node: str, name: str, state: str, seconds: float) -> ProviderFailed:
    """An instance runs and got no address."""
    return ProviderFailed(
        f"the instance {name} got no address within {seconds:g} s",
        where=node,
        evidence=f"Multipass: {state}, and no IPv4 address",
        remedy="a firewall, a VPN or another DHCP server in the way of Multipass' network is the usual cause; "
        f"multipass restart {name}, then apply again",
        code="multipass.no-address",
    )


def _provider(spec: ClusterSpec) -> MultipassProvider:
    if not isinstance(spec.provider, MultipassProvider):
        raise TypeError(f"the provider of {spec.name} is {spec.provider.kind}")
    return spec.provider
