"""PURE: labels and taints of this host's Node, as far as they are ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import Facts, NodeFact
from productive_k3s.contract.request import Request
from productive_k3s.plan.desired import Desired, desired_state
from productive_k3s.plan.effective import Effective, effective_state


@dataclass(frozen=True)
class Taints:
    """The taints that a Node shall have of ours (`key=value:Effect`), and those that go (`key:Effect`)."""

    wanted: Tuple[str, ...]
    gone: Tuple[str, ...]


def node_changes(desired: Desired, effective: Effective) -> Tuple[Change, ...]:
    """Return what brings labels and taints of the Node to what is desired: through the API, without a restart."""
    return tuple(_changes(desired, effective))


def _changes(desired: Desired, effective: Effective) -> Iterator[Change]:
    name = desired.node_name
    labels = label_differences(desired, effective)
    if labels:
        said = ", ".join(
            f"{key}={text}" if text is not None else f"{key} is removed" for key, text in sorted(labels.items())
        )
        yield Change(f"label:{name}", "label-node", name, f"labels differ: {said}", "change")
    taints = taint_differences(desired, effective)
    if taints is not None:
        yield Change(f"taint:{name}", "taint-node", name, f"taints differ: {in_words(taints)}", "change")


def node_differences(request: Request, facts: Facts) -> Tuple[Dict[str, Optional[str]], Optional[Taints]]:
    """Return what of labels and taints differs on the Node, for a driver that asks a server to change it."""
    effective = effective_state(request, facts)
    desired = desired_state(request, effective)
    return label_differences(desired, effective), taint_differences(desired, effective)


def label_differences(desired: Desired, effective: Effective) -> Dict[str, Optional[str]]:
    """Return the labels of this host's Node that are to be set, or removed (None).

    Removed are only our own: those of the configuration with which the node runs, and those set through the API.
    """
    node = effective.node
    if node is None:
        return {}
    wanted = desired.request.labels
    wrong: Dict[str, Optional[str]] = {key: value for key, value in wanted.items() if node.labels.get(key) != value}
    written = [item.partition("=")[0] for item in effective.flags.get("node-label", ())]
    for key in (*written, *node.own_labels):
        if key in node.labels and key not in wanted:
            wrong[key] = None
    return wrong


def taint_differences(desired: Desired, effective: Effective) -> Optional[Taints]:
    """Return our taints where the Node has others, None where it has them.

    A Node's taints are one list, in which Kubernetes and others keep theirs: ours are told by key and effect, which are
    unique in it: those of the configuration with which the node joined, and those noted on the Node.
    """
    node = effective.node
    if node is None:
        return None
    wanted = tuple(map(_spelled, desired.request.taints))
    ours = {place_of(item) for item in (*effective.flags.get("node-taint", ()), *(node.own_taints or ()))}
    there = {place_of(item): item for item in map(_spelled, node.taints)}
    kept = {place_of(item) for item in wanted}
    gone = tuple(sorted(place for place in ours - kept if place in there))
    missing = [item for item in wanted if there.get(place_of(item)) != item]
    return Taints(wanted, gone) if missing or gone else None


def own_places(node: NodeFact, taints: Taints) -> Tuple[str, ...]:
    """Return what is to be noted on a Node as ours (`key:Effect`), after these taints are written."""
    kept = [place for place in node.own_taints or () if place not in taints.gone]
    return tuple(dict.fromkeys((*kept, *map(place_of, taints.wanted))))


def parse_taints(words: Sequence[str]) -> Taints:
    """Read `key=value:Effect` and `key:Effect-`."""
    gone = tuple(place_of(word[:-1]) for word in words if word.endswith("-"))
    return Taints(tuple(_spelled(word) for word in words if not word.endswith("-")), gone)


def taint_words(taints: Taints) -> Tuple[str, ...]:
    """Return what `parse_taints` reads."""
    return (*taints.wanted, *(f"{place}-" for place in taints.gone))


def place_of(taint: str) -> str:
    """Return `key:Effect` of a taint, which is in a Node's list once."""
    said, _, effect = taint.rpartition(":")
    return f"{said.partition('=')[0]}:{effect}"


def _spelled(taint: str) -> str:
    """Return the taint as the API shows it: `key=:Effect` has no value, and is `key:Effect`."""
    said, _, effect = taint.rpartition(":")
    return f"{said.rstrip('=') if said.endswith('=') else said}:{effect}"


def in_words(taints: Taints) -> str:
    """Return what of the taints comes and goes."""
    return ", ".join((*taints.wanted, *(f"{place} is removed" for place in taints.gone)))


def with_taints(there: Sequence[Mapping[str, Any]], taints: Taints) -> Tuple[Dict[str, Any], ...]:
    """Return a Node's whole list (spec.taints) with ours as they shall be, and everybody else's as they are."""
    kept: List[Dict[str, Any]] = []
    places = {*taints.gone, *map(place_of, taints.wanted)}
    wanted = {place_of(item): _as_object(item) for item in taints.wanted}
    for item in there:
        place = f"{item.get('key', '')}:{item.get('effect', '')}"
        ours = wanted.get(place)
        # One that is right already keeps its place and the time at which it was added.
        if ours is not None and item.get("value", "") == ours.get("value", ""):
            kept.append(dict(item))
            del wanted[place]
        elif place not in places:
            kept.append(dict(item))
    return (*kept, *wanted.values())


def _as_object(taint: str) -> Dict[str, Any]:
    said, _, effect = taint.rpartition(":")
    key, _, value = said.partition("=")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}
