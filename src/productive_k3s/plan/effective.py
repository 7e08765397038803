"""PURE: what holds on a host, worked out of its facts once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Tuple

from productive_k3s.contract.facts import Facts, FileFact, NodeFact, UnitFact
from productive_k3s.contract.request import Request
from productive_k3s.k3s import config_file, flags, paths
from productive_k3s.k3s.header import schema_of
from productive_k3s.k3s.unit_file import Directive


@dataclass(frozen=True)
class Effective:
    """What a host says and is, as far as a request for its unit is concerned.

    `flags` are those that count, whatever file or command line says them, `own` those of config.yaml alone; both
    without what says nothing. `directives` are the unit's own lines, `in_drop_ins` those of files beside it, with
    their paths. `variables` is the environment file that the install script and this program write, None without it.
    `files` are those that this program may write, by path; `node` is this host's Node where the API was asked.
    """

    facts: Facts
    is_member: bool
    is_ours: bool
    node_name: str
    flags: Mapping[str, List[str]]
    own: Mapping[str, List[str]]
    sources: Mapping[str, str]
    unit: Optional[UnitFact]
    directives: Tuple[Directive, ...]
    in_drop_ins: Mapping[str, Tuple[Directive, ...]]
    variables: Optional[Mapping[str, str]]
    files: Mapping[str, FileFact]
    node: Optional[NodeFact]

    @property
    def was_made_by_others(self) -> bool:
        """Whether somebody else made this member: what it says in another way stays, until it has to restart."""
        return self.is_member and not self.is_ours

    @property
    def has_config(self) -> bool:
        """Whether there is a config.yaml."""
        return paths.CONFIG in self.files

    @property
    def flags_in_variables(self) -> Tuple[str, ...]:
        """The flags of K3s that stand in the environment file."""
        there = (self.variables or {}).items()
        return tuple(flags.VARIABLES[name] for name, value in there if value and name in flags.VARIABLES)

    @property
    def other_variables(self) -> Dict[str, str]:
        """The variables of the environment file that are no flags of K3s."""
        return {name: value for name, value in (self.variables or {}).items() if name not in flags.VARIABLES}

    @property
    def runs(self) -> bool:
        """Whether the unit is up: an agent that never joined is not."""
        return self.unit is not None and self.unit.active_state == "active"


def is_member(facts: Facts) -> bool:
    """Whether this host belongs to a cluster already: a server with a datastore, an agent that once joined."""
    k3s = facts.k3s
    if k3s.datastore is not None:
        return True
    return k3s.role == "agent" and bool(k3s.ca_hash) and k3s.has_node_password


def node_name(request: Request, facts: Facts) -> str:
    """Return the node's name. A node that has one keeps it; K3s lowers the hostname in the same way."""
    return facts.k3s.node_name or request.node_name or facts.host.hostname.lower()


def effective_state(request: Request, facts: Facts) -> Effective:
    """Work out what holds on the host that a request is for."""
    k3s = facts.k3s
    unit = next((unit for unit in k3s.units if unit.name.split(".")[0] == request.unit), None)
    name = node_name(request, facts)
    nodes = facts.cluster.nodes if facts.cluster is not None else ()
    fragment = unit.fragment.path if unit is not None and unit.fragment is not None else ""
    in_drop_ins: Dict[str, Tuple[Directive, ...]] = {}
    for line in unit.directives if unit is not None else ():
        in_drop_ins[line.path] = (*in_drop_ins.get(line.path, ()), (line.section, line.key, line.value))
    return Effective(
        facts=facts,
        is_member=is_member(facts),
        is_ours=schema_of(k3s.written_by) > 0,
        node_name=name,
        flags=config_file.without_defaults(k3s.config),
        own=config_file.without_defaults(k3s.own_config),
        sources=k3s.config_sources,
        unit=unit,
        directives=in_drop_ins.pop(fragment, ()),
        in_drop_ins=in_drop_ins,
        variables=unit.variables.get(paths.environment_file(request.unit)) if unit is not None else None,
        files=_files(facts, unit),
        node=next((node for node in nodes if node.name == name), None),
    )


def _files(facts: Facts, unit: Optional[UnitFact]) -> Dict[str, FileFact]:
    k3s = facts.k3s
    there = [*k3s.scripts, *k3s.config_files, *k3s.files]
    if k3s.registries is not None:
        there.append(k3s.registries)
    if unit is not None:
        there.extend(unit.environment_files)
        if unit.fragment is not None:
            there.append(unit.fragment)
    return {item.path: item for item in there}
