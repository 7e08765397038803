"""What a server is asked to do to a Node through the API: labels, cordons, a drain, and to take it out."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.model import Say
from productive_k3s_infra.execute.steps.calls import GOOD, MARGIN_SECONDS, SHORT_SECONDS
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.plan.step import (
    DRAIN_SECONDS,
    CordonNode,
    DrainNode,
    ForgetNode,
    LabelNode,
    NodeStep,
    RemoveNode,
    UncordonNode,
)

# A node that is not there needs no drain. One that is not Ready ends no pods any more; it leaves anyway, and that was
# agreed to.
_NO_OBSTACLE = ("kube.no-node", "node.not-ready")
# The cordon is an apply's, and not a person's.
_BY_APPLY = "--by-apply"
# With these a drain ends when its node is cordoned already.
_STAYS_CORDONED = ("node.drain-blocked", "node.drain-timeout", "node.not-ready")


async def act_on_node(tools: Tools, step: NodeStep, say: Say) -> Result:
    """Carry out one step that a server is asked for."""
    match step:
        case LabelNode():
            return await label_node(tools, step)
        case RemoveNode():
            return await remove_node(tools, step, say)
        case ForgetNode():
            return await forget_node(tools, step)
        case CordonNode():
            return await cordon_node(tools, step)
        case DrainNode():
            return await drain_node(tools, step, say)
        case UncordonNode():
            return await uncordon_node(tools, step)
        case _:
            assert_never(step)


async def label_node(tools: Tools, step: LabelNode) -> Result:
    """Set and take away labels of a Node, then its taints."""
    labels = tuple(f"{key}={value}" if value is not None else f"{key}-" for key, value in step.labels.items())
    result = Result("unchanged")
    for action, words in (("label", labels), ("taint", step.taints)):
        if words and result.outcome in GOOD:
            result = await _node(tools, step.host, (action, step.node, *words))
    return result


async def remove_node(tools: Tools, step: RemoveNode, say: Say) -> Result:
    """Drain the node, then take it out of the cluster. A node that cannot be drained stays, cordoned.

    If it is put back into the file, the next apply lifts that cordon.
    """
    drained = await _drain(tools, step.host, step.node, DRAIN_SECONDS, say, _BY_APPLY)
    codes = [failure.code for failure in drained.failures]
    if drained.outcome not in GOOD and not (codes and all(code in _NO_OBSTACLE for code in codes)):
        return drained
    return await _node(tools, step.host, ("remove", step.node))


async def forget_node(tools: Tools, step: ForgetNode) -> Result:
    """Take the node out of the cluster; one that is not there is no obstacle."""
    return await _node(tools, step.host, ("remove", step.node))


async def cordon_node(tools: Tools, step: CordonNode) -> Result:
    """Let the node take no new pods, until a person uncordons it."""
    return await _node(tools, step.host, ("cordon", step.node))


async def drain_node(tools: Tools, step: DrainNode, say: Say) -> Result:
    """Cordon the node and move its pods. One that cannot be drained stays cordoned, and the failure says the way back.

    For an apply a node that is not there needs no drain.
    """
    drained = await _drain(tools, step.host, step.node, step.timeout_seconds, say, *_by_apply(step))
    if step.by_apply and drained.failures and all(failure.code == "kube.no-node" for failure in drained.failures):
        return Result("unchanged", notes=tuple(failure.what for failure in drained.failures))
    return replace(drained, failures=tuple(_with_way_back(failure, step.node) for failure in drained.failures))


async def uncordon_node(tools: Tools, step: UncordonNode) -> Result:
    """Let the node take new pods again. After an apply the cordon of a person stays."""
    return await _node(tools, step.host, ("uncordon", step.node, *_by_apply(step)))


def _by_apply(step: DrainNode | UncordonNode) -> tuple[str, ...]:
    return (_BY_APPLY,) if step.by_apply else ()


def _with_way_back(failure: Failure, node: str) -> Failure:
    if failure.code not in _STAYS_CORDONED:
        return failure
    return replace(failure, remedy=f"{failure.remedy}: pk3s uncordon {node}")


async def _drain(tools: Tools, server: str, node: str, seconds: float, say: Say, *flags: str) -> Result:
    session = await tools.fleet.session(server)
    return await session.call(
        "node",
        arguments=("drain", node, "--timeout", f"{seconds:g}", *flags),
        on_event=say,
        deadline_seconds=seconds + MARGIN_SECONDS,
    )


async def _node(tools: Tools, server: str, arguments: tuple[str, ...]) -> Result:
    session = await tools.fleet.session(server)
    return await session.call("node", arguments=arguments, deadline_seconds=SHORT_SECONDS)
