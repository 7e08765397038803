"""PURE: the order of steps. A plan that cannot be run to its end is refused before anything of it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from productive_k3s_infra.plan.step import Step


class InvalidPlan(Exception):
    """The plan is a mistake of this program: two steps of one id, a need that is no step, or a cycle."""


def order_of(steps: Sequence[Step]) -> TopologicalSorter[str]:
    """Return the prepared order of the steps' ids; raises InvalidPlan, naming what is wrong."""
    twice = [name for name, count in Counter(step.id for step in steps).items() if count > 1]
    if twice:
        raise InvalidPlan(f"steps of the same id: {', '.join(twice)}")
    known = {step.id for step in steps}
    unknown = [f"{step.id} needs {need}" for step in steps for need in step.needs if need not in known]
    if unknown:
        raise InvalidPlan(f"needs that are no steps: {'; '.join(unknown)}")
    order = TopologicalSorter({step.id: step.needs for step in steps})
    try:
        order.prepare()
    except CycleError as error:
        raise InvalidPlan(f"steps that need each other: {' -> '.join(reversed(error.args[1]))}") from error
    return order
