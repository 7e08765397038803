"""PURE: what is said of a node that somebody else made: that it is left as it is, and what would move later."""

from __future__ import annotations

from typing import Iterator, Sequence, Tuple

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Request
from productive_k3s.k3s import paths, unit_file
from productive_k3s.plan import render
from productive_k3s.plan.compare import TOKENS, Comparison, is_adopted, own_unit, unit_differs, wished

# How a note begins that speaks of a later move.
COSMETIC = "cosmetic: "
_SHOWN = 4


def as_found(request: Request, facts: Facts, comparison: Comparison) -> Tuple[str, ...]:
    """Return why nothing is rewritten on somebody else's node, and the cosmetic moves that wait for a restart."""
    if not is_adopted(facts) or comparison.takes_over:
        return ()
    first = f"somebody else set up K3s here; it equals the request, so nothing is rewritten{_places(comparison)}"
    return (first, *(f"{COSMETIC}{move}" for move in _moves(request, facts, comparison)))


def _places(comparison: Comparison) -> str:
    places = (("on the unit", comparison.on_unit), ("in its environment file", comparison.in_environment))
    said = "; ".join(f"{place}: {', '.join(keys)}" for place, keys in places if keys)
    return f" ({said})" if said else ""


def _moves(request: Request, facts: Facts, comparison: Comparison) -> Iterator[str]:
    """Yield what a later change that restarts K3s would do besides, and why it is not worth a restart of its own."""
    outside = (*comparison.on_unit, *comparison.in_environment)
    if outside:
        keys = ", ".join(sorted(set(outside)))
        tokens = ", a token into a 0600 file of its own" if set(outside) & set(TOKENS) else ""
        place = f"{paths.CONFIG}{tokens}"
        yield f"with the next change that restarts K3s, {keys} move to {place}, so that one file says it all"
    asked = wished(request, facts)
    for path in sorted(set(comparison.extra.values())):
        both = ", ".join(sorted(key for key, place in comparison.extra.items() if place == path and key in asked))
        if both:
            yield f"{path} says {both} as asked; the next change of {paths.CONFIG} writes that there too"
    if unit_differs(request, facts):
        yield (
            f"with the next change that restarts K3s, the unit becomes the install script's "
            f"(now it differs in {_differing(request, facts)})"
        )


def _differing(request: Request, facts: Facts) -> str:
    unit = own_unit(request, facts)
    text = (unit.fragment.text or "") if unit is not None and unit.fragment is not None else ""
    there = _directives(text)
    wanted = _directives(render.unit(request.role, request.unit))
    keys = list(dict.fromkeys(key for key, _ in sorted(set(there) ^ set(wanted))))
    more = ", ..." if len(keys) > _SHOWN else ""
    return (", ".join(keys[:_SHOWN]) + more) if keys else "their order"


def _directives(text: str) -> Sequence[Tuple[str, str]]:
    return [(key, value) for _, key, value in unit_file.directives(text) if key != "ExecStart"]
