"""PURE: the configuration that is wished, beside the one that holds on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Tuple

from productive_k3s import config_file, flags, paths
from productive_k3s.facts.model import Facts
from productive_k3s.render import config, schema_of
from productive_k3s.request import Request

# Which token a member uses was decided when it joined; another path or form of it is no difference.
_TOKENS = ("token", "token-file", "agent-token", "agent-token-file")
# Kept at their first value by K3s (k3s.md 2.3): a change on a member breaks its cluster.
FIXED = ("cluster-cidr", "service-cidr", "cluster-domain", "data-dir")
# Written by this program from facts; where somebody else's file leaves them out, K3s finds the same by itself.
_FROM_FACTS = ("node-name", "node-ip", "flannel-iface")


@dataclass(frozen=True)
class Comparison:
    """What differs, by flag.

    `file` differs in config.yaml, `on_unit` stands on the unit's command line and must go from there, `overridden`
    is set differently by a file that comes after ours (with that file's path), `extra` is set by such a file only.
    """

    file: Tuple[str, ...]
    on_unit: Tuple[str, ...]
    overridden: Mapping[str, str]
    extra: Mapping[str, str]


def is_managed(facts: Facts) -> bool:
    """Whether this program wrote config.yaml."""
    return schema_of(facts.k3s.written_by) > 0


def is_member(facts: Facts) -> bool:
    """Whether this host belongs to a cluster already: a server with a datastore, an agent that once joined."""
    k3s = facts.k3s
    if k3s.datastore is not None:
        return True
    return k3s.role == "agent" and bool(k3s.ca_hash) and k3s.has_node_password


def wished(request: Request, facts: Facts) -> Dict[str, List[str]]:
    """Return the flags that shall hold, in their canonical form."""
    return _meaningful(config_file.canonical(config(request, facts)))


def own_file(facts: Facts) -> Dict[str, List[str]]:
    """Return what config.yaml itself says; a file that cannot be read is empty here (and a veto elsewhere)."""
    text = next((item.text for item in facts.k3s.config_files if item.path == paths.CONFIG), None)
    try:
        return _meaningful(config_file.canonical(config_file.load(text or "", paths.CONFIG)))
    except config_file.ConfigUnreadable:
        return {}


def compare(request: Request, facts: Facts) -> Comparison:
    """Say what separates the host's configuration from the request."""
    ignored = _ignored(request, facts)
    want = {key: value for key, value in wished(request, facts).items() if key not in ignored}
    own = {key: value for key, value in own_file(facts).items() if key not in ignored}
    effective = _meaningful(facts.k3s.config)
    sources = facts.k3s.config_sources
    elsewhere = {key: path for key, path in sources.items() if path not in (paths.CONFIG, "unit")}
    on_unit = [
        key
        for key, path in sources.items()
        if path == "unit" and key not in ignored and effective.get(key) != want.get(key)
    ]
    overridden = {
        key: path
        for key, path in elsewhere.items()
        if key in want and not set(want[key]) <= set(effective.get(key, ()))
    }
    extra = {key: path for key, path in elsewhere.items() if key not in overridden and key in effective}
    # Once the unit is rewritten its flags are gone, so the file must say them all.
    satisfied = own if on_unit else {**effective, **{key: own[key] for key in own if key in elsewhere}}
    missing = [key for key, value in want.items() if satisfied.get(key) != value and key not in overridden]
    surplus = [key for key in own if key not in want]
    return Comparison(tuple(sorted({*missing, *surplus})), tuple(sorted(on_unit)), overridden, extra)


def _ignored(request: Request, facts: Facts) -> Tuple[str, ...]:
    if not is_member(facts):
        return ()
    ignored = (*flags.JOIN_TIME, *_TOKENS)
    if is_managed(facts):
        return ignored
    effective = facts.k3s.config
    return (*ignored, *(key for key in _FROM_FACTS if key not in effective and not _asked(key, request)))


def _asked(key: str, request: Request) -> bool:
    return bool({"node-ip": request.node_ip, "flannel-iface": request.flannel_iface}.get(key))


def _meaningful(values: Mapping[str, List[str]]) -> Dict[str, List[str]]:
    """Leave out what says nothing: an empty list, an empty string, a switch that is off."""
    return {key: list(value) for key, value in values.items() if value and list(value) not in (["false"], [""])}
