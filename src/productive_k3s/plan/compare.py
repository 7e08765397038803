"""PURE: the configuration that is wished, beside the one that holds on the host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Dict, List, Mapping, Optional, Set, Tuple

from productive_k3s.contract.facts import Facts, FileFact, UnitFact
from productive_k3s.contract.request import Request
from productive_k3s.facts import masking
from productive_k3s.k3s import config_file, flags, paths, unit_file
from productive_k3s.k3s.header import schema_of
from productive_k3s.plan import render
from productive_k3s.plan.render import config

# Which token a member uses was decided when it joined; another path or form of it is no difference.
TOKENS = ("token", "token-file", "agent-token", "agent-token-file")
# Kept at their first value by K3s (k3s.md 2.3): a change on a member breaks its cluster.
FIXED = ("cluster-cidr", "service-cidr", "cluster-domain", "data-dir")
# Written by this program from facts; where somebody else's file leaves them out, K3s finds the same by itself.
_FROM_FACTS = ("node-name", "node-ip", "flannel-iface")


@dataclass(frozen=True)
class Comparison:
    """What differs, by flag.

    `file` differs in config.yaml. `overridden` is set differently by a file that comes after ours (with that file's
    path), `extra` is set by such a file only. `on_unit` and `in_environment` stand on the unit's command line and in
    its environment file; with `moves` they go from there, all of them at once, and config.yaml says what shall stay:
    whoever rewrites one of the three rewrites them all, so that no flag is lost (`server` and the token of an agent
    that the install script made stand in its environment file only). With `takes_over` somebody else's node is changed
    and restarted anyway, and its unit becomes the install script's with that. `kept` are secrets of somebody else's
    config.yaml, which no cluster file can say: they are no difference, and must not be lost.
    """

    file: Tuple[str, ...]
    on_unit: Tuple[str, ...]
    in_environment: Tuple[str, ...]
    moves: bool
    overridden: Mapping[str, str]
    extra: Mapping[str, str]
    takes_over: bool = False
    kept: Tuple[str, ...] = ()


def is_managed(facts: Facts) -> bool:
    """Whether this program wrote config.yaml."""
    return schema_of(facts.k3s.written_by) > 0


def is_member(facts: Facts) -> bool:
    """Whether this host belongs to a cluster already: a server with a datastore, an agent that once joined."""
    k3s = facts.k3s
    if k3s.datastore is not None:
        return True
    return k3s.role == "agent" and bool(k3s.ca_hash) and k3s.has_node_password


def is_adopted(facts: Facts) -> bool:
    """Whether somebody else made this member: what it says in another way is left alone, until it has to restart."""
    return is_member(facts) and not is_managed(facts)


def wished(request: Request, facts: Facts) -> Dict[str, List[str]]:
    """Return the flags that shall hold, in their canonical form."""
    return meaningful(config_file.canonical(config(request, facts)))


def own_file(facts: Facts) -> Dict[str, List[str]]:
    """Return what config.yaml itself says; a file that cannot be read is empty here (and a veto elsewhere)."""
    text = next((item.text for item in facts.k3s.config_files if item.path == paths.CONFIG), None)
    try:
        return meaningful(config_file.canonical(config_file.load(text or "", paths.CONFIG)))
    except config_file.ConfigUnreadable:
        return {}


def own_unit(request: Request, facts: Facts) -> Optional[UnitFact]:
    """Return the unit that the request is about, if it is there."""
    return next((unit for unit in facts.k3s.units if unit.name.split(".")[0] == request.unit), None)


def environment_file(request: Request, facts: Facts) -> Optional[FileFact]:
    """Return the environment file that the install script and this program write, if it is there."""
    unit = own_unit(request, facts)
    wanted = paths.environment_file(request.unit)
    return next((item for item in (unit.environment_files if unit else ()) if item.path == wanted), None)


def writes_config(comparison: Comparison, facts: Facts) -> bool:
    """Whether a member's config.yaml has to be written."""
    there = any(item.path == paths.CONFIG for item in facts.k3s.config_files)
    return bool(comparison.file) or (comparison.moves and not there)


def compare(request: Request, facts: Facts) -> Comparison:
    """Say what separates the host's configuration from the request."""
    ignored = _ignored(request, facts)
    want = {key: value for key, value in wished(request, facts).items() if key not in ignored}
    own_all = own_file(facts)
    own = {key: value for key, value in own_all.items() if key not in ignored}
    effective = meaningful(facts.k3s.config)
    sources = facts.k3s.config_sources
    elsewhere = {
        key: path
        for key, path in sources.items()
        if path not in (paths.CONFIG, config_file.UNIT, config_file.ENVIRONMENT)
    }
    overridden = {
        key: path
        for key, path in elsewhere.items()
        if key in want and not set(want[key]) <= set(effective.get(key, ()))
    }
    extra = {key: path for key, path in elsewhere.items() if key not in overridden and key in effective}

    kept = _secrets_of_somebody_else(effective, want, facts)

    def differing(satisfied: Mapping[str, List[str]]) -> Set[str]:
        missing = {key for key, value in want.items() if satisfied.get(key) != value and key not in overridden}
        return missing | {key for key in own if key not in want and key not in kept}

    # Where a drop-in adds to what our file says, either of the two may be what is asked for.
    beside = {key: own[key] for key in own if key in elsewhere and effective.get(key) != want.get(key)}
    found = differing({**effective, **beside})
    on_unit = [key for key, path in sources.items() if path == config_file.UNIT]
    in_environment = _flags_in_environment(request, facts)
    outside = {*on_unit, *in_environment}
    must_go = {key for key in outside if key not in (*ignored, *kept) and effective.get(key) != want.get(key)}
    real = bool(found or must_go) or unit_is_wrong(request, facts) or environment_differs(request, facts)
    moves = bool(outside) and (real or is_managed(facts))
    if moves:
        # What was decided when the node joined is left alone where config.yaml says it, and taken over where not.
        found = differing(own) | {key for key in outside if key in ignored and not {key, f"{key}-file"} & set(own_all)}
    return Comparison(
        file=tuple(sorted(found)),
        on_unit=tuple(sorted(on_unit)),
        in_environment=tuple(sorted(in_environment)),
        moves=moves,
        overridden=overridden,
        extra=extra,
        takes_over=is_adopted(facts) and real,
        kept=tuple(key for key in kept if key in own),
    )


def _secrets_of_somebody_else(
    there: Mapping[str, List[str]], want: Mapping[str, List[str]], facts: Facts
) -> Tuple[str, ...]:
    if not is_adopted(facts):
        return ()
    return tuple(sorted(key for key in there if key not in want and masking.is_secret(key)))


def _flags_in_environment(request: Request, facts: Facts) -> Tuple[str, ...]:
    file = environment_file(request, facts)
    there = unit_file.environment(file.text or "") if file is not None else {}
    return tuple(flags.VARIABLES[name] for name, value in there.items() if value and name in flags.VARIABLES)


def unit_differs(request: Request, facts: Facts) -> bool:
    """Whether the unit says something else than the install script's would, its flags aside."""
    unit = own_unit(request, facts)
    if unit is None or unit.fragment is None:
        return False
    wanted = unit_file.meaning((render.unit(request.role, request.unit),))
    return unit_file.meaning((unit.fragment.text or "",)) != wanted


def unit_is_wrong(request: Request, facts: Facts) -> bool:
    """Whether the unit has to be written, its flags aside: somebody else's only where it runs something else.

    Older install scripts and other tools write further directives, which change nothing that is asked for.
    """
    unit = own_unit(request, facts)
    if unit is None or unit.fragment is None or not unit_differs(request, facts):
        return False
    if not is_adopted(facts):
        return True
    runs = [value.split()[:2] for _, key, value in unit_file.directives(unit.fragment.text or "") if key == "ExecStart"]
    return bool(runs) and runs[-1] != [paths.BINARY, request.role]


def environment_differs(request: Request, facts: Facts) -> bool:
    """Whether the environment file says something else than asked, flags of K3s aside."""
    file = environment_file(request, facts)
    asked = render.variables(request)
    if file is None or file.sha256 == render.digest(render.environment(asked)):
        return False
    there = unit_file.environment(file.text or "")
    others = {name: value for name, value in there.items() if name not in flags.VARIABLES}
    if is_adopted(facts):
        # A password in somebody else's proxy is not seen; all around it is.
        return _unordered(others) != _unordered(
            unit_file.environment(masking.environment_text(render.environment(asked)))
        )
    if any(masking.MASK in value for value in others.values()):
        # What is masked is compared by its digest, where that is of this file alone; else it is written again.
        return not (_is_only_file(file, request, facts) and _digest_on_disk(facts) == _digest_of(asked))
    return _unordered(others) != _unordered(asked)


def _is_only_file(file: FileFact, request: Request, facts: Facts) -> bool:
    unit = own_unit(request, facts)
    return unit is not None and unit.environment_files == (file,)


def _digest_on_disk(facts: Facts) -> str:
    return facts.k3s.on_disk.environment if facts.k3s.on_disk is not None else ""


def _digest_of(asked: Mapping[str, str]) -> str:
    return unit_file.environment_meaning((render.environment(asked),))


def _unordered(variables: Mapping[str, str]) -> Dict[str, object]:
    """Take NO_PROXY as the set that it is: another order says the same."""
    return {
        name: frozenset(filter(None, map(str.strip, value.split(",")))) if name.lower() == "no_proxy" else value
        for name, value in variables.items()
    }


def _ignored(request: Request, facts: Facts) -> Tuple[str, ...]:
    if not is_member(facts):
        return ()
    ignored = (*flags.JOIN_TIME, *TOKENS)
    if is_managed(facts):
        return ignored
    effective = facts.k3s.config
    return (*ignored, *(key for key in _FROM_FACTS if key not in effective and not _asked(key, request, facts)))


def _asked(key: str, request: Request, facts: Facts) -> bool:
    """Whether a value is asked for that K3s would not find by itself."""
    if key == "node-ip":
        return request.node_ip not in (None, found_address(facts))
    return key == "flannel-iface" and request.flannel_iface is not None


def found_address(facts: Facts) -> Optional[str]:
    """Return the address that K3s finds for the node if nobody tells it: of flannel-iface, else of the default route.

    (k3s-io/k3s, cli/server and cli/agent: flannel-iface without node-ip gives the interface's address.)
    """
    told = facts.k3s.config.get("flannel-iface")
    host = replace(facts.host, default_interface=told[0]) if told else facts.host
    bare = replace(facts, host=host, k3s=replace(facts.k3s, config={}))
    return render.node_address(Request("server", ""), bare)


def meaningful(values: Mapping[str, List[str]]) -> Dict[str, List[str]]:
    """Leave out what says nothing: an empty list, an empty string, a switch that is off, the default data-dir."""
    return {
        key: list(value)
        for key, value in values.items()
        if value and list(value) not in (["false"], [""]) and (key, list(value)) != ("data-dir", [paths.DATA])
    }
