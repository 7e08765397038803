"""PURE: remarks beside the changes of a host: what is left as it is, and why."""

from __future__ import annotations

from typing import Iterator, Sequence, Tuple

from productive_k3s.contract.request import Request
from productive_k3s.k3s import flags, paths, unit_file
from productive_k3s.plan import render
from productive_k3s.plan.compare import TOKENS, Comparison
from productive_k3s.plan.desired import Desired
from productive_k3s.plan.effective import Effective

# How a note begins that speaks of a later move.
COSMETIC = "cosmetic: "
_SHOWN = 4


def notes(desired: Desired, effective: Effective, comparison: Comparison, *, is_done: bool) -> Tuple[str, ...]:
    """Return the remarks; `is_done` where the host itself needs no change."""
    return tuple(_notes(desired, effective, comparison, is_done=is_done))


def _notes(desired: Desired, effective: Effective, comparison: Comparison, *, is_done: bool) -> Iterator[str]:
    request, k3s = desired.request, effective.facts.k3s
    if is_done:
        yield f"{request.version} runs as requested"
    for key, path in sorted(comparison.extra.items()):
        yield f"{path} also sets {key}"
    yield from _as_found(desired, effective, comparison)
    if k3s.datastore == "sqlite" and request.role == "server" and request.datastore == "etcd":
        yield "the datastore stays SQLite: it is chosen at the first start"
    yield from _address(desired, effective, comparison)
    if k3s.leftovers and k3s.role is None:
        yield f"left over from an earlier K3s: {', '.join(k3s.leftovers)}"


def _address(desired: Desired, effective: Effective, comparison: Comparison) -> Iterator[str]:
    if not effective.is_member or "node-ip" not in comparison.file or not effective.flags.get("node-ip"):
        return
    before = ",".join(effective.flags["node-ip"])
    if desired.request.role == "server":
        follows = "agents and kubeconfigs with the old address no longer reach this server"
    else:
        follows = "connections to the old address no longer reach this node"
    yield f"the node's address changes from {before} to {desired.address}: {follows}"


def _as_found(desired: Desired, effective: Effective, comparison: Comparison) -> Iterator[str]:
    """Yield why nothing is rewritten on somebody else's node, and the cosmetic moves that wait for a restart."""
    if not effective.was_made_by_others or comparison.takes_over:
        return
    yield f"K3s was not set up by productive-k3s; it matches the request, so nothing is rewritten{_places(comparison)}"
    for move in _moves(desired, effective, comparison):
        yield f"{COSMETIC}{move}"


def _places(comparison: Comparison) -> str:
    places = (("on the unit", comparison.on_unit), ("in its environment file", comparison.in_environment))
    said = "; ".join(f"{place}: {', '.join(keys)}" for place, keys in places if keys)
    return f" ({said})" if said else ""


def _moves(desired: Desired, effective: Effective, comparison: Comparison) -> Iterator[str]:
    """Yield what a later change that restarts K3s would do besides, and why it is not worth a restart of its own."""
    outside = (*comparison.on_unit, *comparison.in_environment)
    if outside:
        keys = ", ".join(sorted(set(outside)))
        tokens = ", a token into a 0600 file of its own" if set(outside) & set(TOKENS) else ""
        place = f"{paths.CONFIG}{tokens}"
        yield f"with the next change that restarts K3s, {keys} move to {place}, so that one file holds all flags"
    for path in sorted(set(comparison.extra.values())):
        both = ", ".join(
            sorted(key for key, place in comparison.extra.items() if place == path and key in desired.flags)
        )
        if both:
            yield f"{path} already sets {both} as requested; the next change of {paths.CONFIG} writes it there too"
    if comparison.unit_differs:
        yield (
            f"with the next change that restarts K3s, the unit becomes the install script's "
            f"(now it differs in {_differing(desired.request, effective)})"
        )
    for key in flags.OF_THE_NODE:
        old = [item for item in effective.flags.get(key, ()) if item not in desired.flags.get(key, ())]
        if old and key == "node-label":
            yield (
                f"K3s sets the labels {', '.join(old)} again at each start, because its own configuration "
                "has them; the next change that restarts K3s removes them"
            )


def _differing(request: Request, effective: Effective) -> str:
    there = _without_command(effective.directives)
    wanted = _without_command(render.directives_of(request.role, request.unit))
    keys = list(dict.fromkeys(key for key, _ in sorted(set(there) ^ set(wanted))))
    more = ", ..." if len(keys) > _SHOWN else ""
    return (", ".join(keys[:_SHOWN]) + more) if keys else "their order"


def _without_command(lines: Sequence[unit_file.Directive]) -> Sequence[Tuple[str, str]]:
    return [(key, value) for _, key, value in lines if key != "ExecStart"]
