"""`label-node`, `remove-node`, `forget-node`: what a server is asked to do to a Node through the API."""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s_infra.execute.model import Say
from productive_k3s_infra.execute.steps.calls import GOOD, MARGIN_SECONDS, SHORT_SECONDS
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.plan.step import ForgetNode, LabelNode, RemoveNode

DRAIN_SECONDS = 300.0
# A node that is not there needs no drain. One that is not Ready ends no pods any more; it leaves anyway, and that was
# agreed to.
_NO_OBSTACLE = ("kube.no-node", "node.not-ready")


async def label_node(tools: Tools, step: LabelNode) -> Result:
    """Set and take away labels of a Node, then its taints."""
    labels = tuple(f"{key}={value}" if value is not None else f"{key}-" for key, value in step.labels.items())
    result = Result("unchanged")
    for action, words in (("label", labels), ("taint", step.taints)):
        if words and result.outcome in GOOD:
            result = await _node(tools, step.host, (action, step.node, *words))
    return result


async def remove_node(tools: Tools, step: RemoveNode, say: Say) -> Result:
    """Drain the node, then take it out of the cluster. A node that cannot be drained stays, cordoned."""
    session = await tools.fleet.session(step.host)
    drained = await session.call(
        "node",
        arguments=("drain", step.node, "--timeout", f"{DRAIN_SECONDS:g}"),
        on_event=say,
        deadline_seconds=DRAIN_SECONDS + MARGIN_SECONDS,
    )
    codes = [failure.code for failure in drained.failures]
    if drained.outcome not in GOOD and not (codes and all(code in _NO_OBSTACLE for code in codes)):
        return drained
    return await _node(tools, step.host, ("remove", step.node))


async def forget_node(tools: Tools, step: ForgetNode) -> Result:
    """Take the node out of the cluster; one that is not there is no obstacle."""
    return await _node(tools, step.host, ("remove", step.node))


async def _node(tools: Tools, server: str, arguments: tuple[str, ...]) -> Result:
    session = await tools.fleet.session(server)
    return await session.call("node", arguments=arguments, deadline_seconds=SHORT_SECONDS)
