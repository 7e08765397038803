"""PURE: what a request means for one host, worked out once: flags, files, names, addresses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from productive_k3s.contract.facts import Facts, Interface
from productive_k3s.contract.request import Request
from productive_k3s.facts import masking
from productive_k3s.k3s import config_file, paths
from productive_k3s.k3s.flag_files import read_at_start
from productive_k3s.plan import render
from productive_k3s.plan.effective import Effective
from productive_k3s.plan.render import RenderedFile


@dataclass(frozen=True)
class Desired:
    """What shall hold on one host.

    `config` is config.yaml as it is written, `flags` the same to compare, without what says nothing. `variables` are
    those of the environment file, `comparable_variables` the same with digests in the place of secrets. `files` are all
    files that this program writes, but for tokens, in the order in which it writes them; `read_at_start` are the paths
    of those that flags point to and that a start reads.
    """

    request: Request = field(repr=False)
    node_name: str
    address: Optional[str]
    config: Mapping[str, Any]
    flags: Mapping[str, List[str]]
    variables: Mapping[str, str] = field(repr=False)
    comparable_variables: Mapping[str, str]
    registries: Optional[Mapping[str, Any]] = field(repr=False)
    files: Tuple[RenderedFile, ...]
    read_at_start: Tuple[str, ...]


def desired_state(request: Request, effective: Effective) -> Desired:
    """Work out what a request means on the host that looks so."""
    values = _config(request, effective)
    flags = config_file.without_defaults(config_file.canonical(values))
    asked = registries(request)
    set_variables = variables(request)
    of_flags = tuple(render.flag_file(name, text) for name, text in sorted(request.files.items()))
    return Desired(
        request=request,
        node_name=effective.node_name,
        address=node_address(request.node_ip, effective.facts),
        config=values,
        flags=flags,
        variables=set_variables,
        comparable_variables=masking.variables(set_variables),
        registries=asked,
        files=(
            *render.scripts(request.unit),
            *((render.registries(asked),) if asked is not None else ()),
            *of_flags,
            render.config(values),
            render.environment_file(request.unit, set_variables),
            render.unit_of(request.role, request.unit),
        ),
        read_at_start=read_at_start({file.path: file.text for file in of_flags}, flags),
    )


def _config(request: Request, effective: Effective) -> Dict[str, Any]:
    """Return config.yaml as flags. Flags of the request come last; what is always written comes from the facts."""
    facts = effective.facts
    values: Dict[str, Any] = {"node-name": effective.node_name}
    address = node_address(request.node_ip, facts)
    if address:
        values["node-ip"] = address
        interface = request.flannel_iface or interface_of(address, facts)
        if interface:
            values["flannel-iface"] = interface
    values.update(_server(request, facts) if request.role == "server" else _agent(request))
    if request.labels:
        values["node-label"] = [f"{key}={value}" for key, value in sorted(request.labels.items())]
    if request.taints:
        values["node-taint"] = list(request.taints)
    for key in sorted(request.config):
        values[key] = request.config[key]
    return values


def _server(request: Request, facts: Facts) -> Dict[str, Any]:
    values: Dict[str, Any] = {}
    if request.join is not None:
        values["server"] = request.join.server
    elif request.datastore == "etcd" and facts.k3s.datastore in (None, "etcd"):
        # With a SQLite datastore there K3s would convert it (docs.k3s.io, datastore/ha-embedded).
        values["cluster-init"] = True
    values["token-file"] = paths.SERVER_TOKEN
    values["agent-token-file"] = paths.AGENT_TOKEN
    if request.tls_san:
        values["tls-san"] = list(request.tls_san)
    return values


def _agent(request: Request) -> Dict[str, Any]:
    server = request.join.server if request.join is not None else ""
    return {"server": server, "token-file": paths.AGENT_TOKEN}


def node_address(asked: Optional[str], facts: Facts) -> Optional[str]:
    """Return what `node-ip` shall be: as asked, else as it is, else the address beside the default route."""
    if asked:
        return asked
    written = facts.k3s.config.get("node-ip")
    if written:
        return ",".join(written) if isinstance(written, (list, tuple)) else str(written)
    return _beside_default_route(facts.host.default_interface, facts)


def found_address(facts: Facts) -> Optional[str]:
    """Return the address that K3s finds for the node if nobody tells it: of flannel-iface, else of the default route.

    (k3s-io/k3s, cli/server and cli/agent: flannel-iface without node-ip gives the interface's address.)
    """
    told = facts.k3s.config.get("flannel-iface")
    return _beside_default_route(told[0] if told else facts.host.default_interface, facts)


def _beside_default_route(interface: Optional[str], facts: Facts) -> Optional[str]:
    chosen = next((item for item in facts.host.interfaces if item.name == interface), None)
    return _first_address(chosen) if chosen else None


def _first_address(interface: Interface) -> Optional[str]:
    found = [ipaddress.ip_interface(address) for address in interface.addresses]
    # K3s is IPv4 unless told otherwise; an IPv6-only host has nothing else to offer.
    first = next((item for item in found if item.version == 4), next(iter(found), None))
    return str(first.ip) if first else None


def interface_of(address: str, facts: Facts) -> Optional[str]:
    """Return the interface that holds the (first) node address."""
    wanted = address.split(",", maxsplit=1)[0].strip()
    for interface in facts.host.interfaces:
        if any(item.split("/")[0] == wanted for item in interface.addresses):
            return interface.name
    return None


def variables(request: Request) -> Dict[str, str]:
    """Return the unit's environment, secrets as they are: for its 0600 file, and for downloads of this program."""
    return {**request.environment, **{key: value.unmask() for key, value in request.secrets.environment.items()}}


def registries(request: Request) -> Optional[Dict[str, Any]]:
    """Return what registries.yaml shall say, secrets as they are; None where nobody asks for one."""
    if request.registries is None:
        return None
    found = dict(request.registries)
    if request.secrets.registries:
        found["configs"] = {name: dict(value) for name, value in dict(found.get("configs") or {}).items()}
    for name, added in request.secrets.registries.items():
        config = found["configs"].setdefault(name, {})
        config["auth"] = {**(config.get("auth") or {}), **{key: value.unmask() for key, value in added.items()}}
    return found
