"""PURE: what separates the configuration of a host from the one that is desired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Set, Tuple

from productive_k3s.facts import masking
from productive_k3s.k3s import config_file, flags, paths
from productive_k3s.k3s.unit_file import command_words, without_arguments
from productive_k3s.plan import render
from productive_k3s.plan.desired import Desired, found_address
from productive_k3s.plan.effective import Effective

# Which token a member uses was decided when it joined; another path or form of it is no difference.
TOKENS = ("token", "token-file", "agent-token", "agent-token-file")
# Kept at their first value by K3s (docs.k3s.io, cli/server): a change on a member breaks its cluster.
FIXED = ("cluster-cidr", "service-cidr", "cluster-domain", "data-dir")
# Written by this program from facts; where somebody else's file leaves them out, K3s finds the same by itself.
_FROM_FACTS = ("node-name", "node-ip", "flannel-iface")


@dataclass(frozen=True)
class Comparison:
    """What differs, by flag.

    `file` differs in config.yaml. `asked` is what K3s is told otherwise than it shall be, wherever that stands.
    `overridden` is set differently by a file that comes after ours (with that file's
    path), `extra` is set by such a file only. `on_unit` and `in_environment` stand on the unit's command line and in
    its environment file; with `moves` they go from there, all of them at once, and config.yaml says what shall stay:
    whoever rewrites one of the three rewrites them all, so that no flag is lost (`server` and the token of an agent
    that the install script made stand in its environment file only). With `takes_over` somebody else's node is changed
    and restarted anyway, and its unit becomes the install script's with that. `kept` are secrets of somebody else's
    config.yaml, which no cluster file can say: they are no difference, and must not be lost.
    `unit_differs` and `environment_differs` say so of these two, their flags aside, `rewrites_unit` whether the unit
    has to be written: somebody else's only where it runs something else.
    """

    file: Tuple[str, ...]
    asked: Tuple[str, ...]
    on_unit: Tuple[str, ...]
    in_environment: Tuple[str, ...]
    moves: bool
    overridden: Mapping[str, str]
    extra: Mapping[str, str]
    takes_over: bool
    kept: Tuple[str, ...]
    writes_config: bool
    unit_differs: bool
    rewrites_unit: bool
    environment_differs: bool

    @property
    def config_restarts(self) -> bool:
        """Whether a start reads what differs in config.yaml."""
        return self.moves or any(key not in flags.OF_THE_NODE for key in self.file)


def compare(desired: Desired, effective: Effective) -> Comparison:
    """Say what separates the host's configuration from the desired one."""
    ignored = _ignored(desired, effective)
    want = {key: value for key, value in desired.flags.items() if key not in ignored}
    own = {key: value for key, value in effective.own.items() if key not in ignored}
    there, sources = effective.flags, effective.sources
    elsewhere = {
        key: path
        for key, path in sources.items()
        if path not in (paths.CONFIG, config_file.UNIT, config_file.ENVIRONMENT)
    }
    overridden = {key: path for key, path in elsewhere.items() if _is_overridden(key, want, effective)}
    extra = {key: path for key, path in elsewhere.items() if key not in overridden and key in there}
    kept = _secrets_of_somebody_else(want, effective)

    def differing(satisfied: Mapping[str, List[str]]) -> Set[str]:
        missing = {key for key, value in want.items() if satisfied.get(key) != value and key not in overridden}
        return missing | {key for key in own if key not in want and key not in kept}

    # Where a drop-in adds to what our file says, either of the two may be what is asked for.
    beside = {key: own[key] for key in own if key in elsewhere and there.get(key) != want.get(key)}
    found = differing({**there, **beside})
    on_unit = [key for key, path in sources.items() if path == config_file.UNIT]
    in_environment = effective.flags_in_variables
    outside = {*on_unit, *in_environment}
    must_go = {key for key in outside if key not in (*ignored, *kept) and there.get(key) != want.get(key)}
    unit, environment = _unit_differs(desired, effective), _environment_differs(desired, effective)
    rewrites_unit = unit and (not effective.was_made_by_others or _runs_something_else(desired, effective))
    real = bool(found or must_go) or rewrites_unit or environment
    asked = tuple(sorted({*found, *must_go}))
    moves = bool(outside) and (real or effective.is_ours)
    if moves:
        # What was decided when the node joined is left alone where config.yaml says it, and taken over where not.
        said = set(effective.own)
        found = differing(own) | {key for key in outside if key in ignored and not {key, f"{key}-file"} & said}
    return Comparison(
        file=tuple(sorted(found)),
        asked=asked,
        on_unit=tuple(sorted(on_unit)),
        in_environment=tuple(sorted(in_environment)),
        moves=moves,
        overridden=overridden,
        extra=extra,
        takes_over=effective.was_made_by_others and real,
        kept=tuple(key for key in kept if key in own),
        writes_config=bool(found) or (moves and not effective.has_config),
        unit_differs=unit,
        rewrites_unit=rewrites_unit,
        environment_differs=environment,
    )


def _is_overridden(key: str, want: Mapping[str, List[str]], effective: Effective) -> bool:
    """Whether a later file leaves nothing of ours: one that adds to our list (`key+`) does not stand in the way."""
    there = set(effective.flags.get(key, ()))
    if key not in want or set(want[key]) <= there or (effective.is_member and key in flags.OF_THE_NODE):
        return False
    return not effective.own.get(key) or not set(effective.own[key]) <= there


def _secrets_of_somebody_else(want: Mapping[str, List[str]], effective: Effective) -> Tuple[str, ...]:
    if not effective.was_made_by_others:
        return ()
    there = {*effective.flags, *effective.own}
    return tuple(sorted(key for key in there if key not in want and masking.is_secret(key)))


def _unit_differs(desired: Desired, effective: Effective) -> bool:
    """Whether the unit says something else than the install script's would, its flags aside."""
    if effective.unit is None or effective.unit.fragment is None:
        return False
    wanted = render.directives_of(desired.request.role, desired.request.unit)
    return tuple(map(without_arguments, effective.directives)) != wanted


def _runs_something_else(desired: Desired, effective: Effective) -> bool:
    """Whether the unit runs another program: further directives, as older install scripts write, change nothing."""
    runs = [command_words(value)[:2] for _, key, value in effective.directives if key == "ExecStart" and value]
    return bool(runs) and runs[-1] != (paths.BINARY, desired.request.role)


def _environment_differs(desired: Desired, effective: Effective) -> bool:
    """Whether the environment file says something else than asked, flags of K3s aside."""
    if effective.variables is None:
        return False
    there, asked = effective.other_variables, desired.comparable_variables
    # Of a proxy with a password that nobody said yet (an adopted host's first plan), the rest is compared.
    masked = {name for name, value in asked.items() if masking.has_masked_user(value)}
    seen = {name: masking.without_users(value) if name in masked else value for name, value in there.items()}
    return _unordered(seen) != _unordered(asked)


def _unordered(variables: Mapping[str, str]) -> Dict[str, object]:
    """Take NO_PROXY as the set that it is: another order says the same."""
    return {
        name: frozenset(filter(None, map(str.strip, value.split(",")))) if name.lower() == "no_proxy" else value
        for name, value in variables.items()
    }


def _ignored(desired: Desired, effective: Effective) -> Tuple[str, ...]:
    if not effective.is_member:
        return ()
    ignored = (*flags.JOIN_TIME, *TOKENS)
    if effective.is_ours:
        return ignored
    # Labels in somebody else's config.yaml move with the rest of it; a note says what that means for them.
    there = effective.facts.k3s.config
    left_out = (key for key in _FROM_FACTS if key not in there and not _is_asked(key, desired, effective))
    return (*ignored, *flags.OF_THE_NODE, *left_out)


def _is_asked(key: str, desired: Desired, effective: Effective) -> bool:
    """Whether a value is asked for that K3s would not find by itself."""
    if key == "node-ip":
        return desired.request.node_ip not in (None, found_address(effective.facts))
    return key == "flannel-iface" and desired.request.flannel_iface is not None
