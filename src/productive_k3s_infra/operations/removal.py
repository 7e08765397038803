"""What the executor calls to take a node out of the cluster, and then its machine away."""

from __future__ import annotations

import asyncio

from productive_k3s.contract.events import Result
from productive_k3s_infra.execute.executor import Handler
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.plan.model import Step, StepAction
from productive_k3s_infra.progress.teller import Teller
from productive_k3s_infra.providers.protocol import Provider

DRAIN_SECONDS = 300.0
_MARGIN_SECONDS = 60.0
_SHORT_CALL_SECONDS = 60.0
_GOOD = ("done", "unchanged")
# A node that is not there needs no drain. One that is not Ready ends no pods any more; its machine goes anyway, and
# that was agreed to.
_NO_OBSTACLE = ("kube.no-node", "node.not-ready")


class RemovalHandlers:
    """The handlers of nodes that leave and of machines that go. A provider is asked for one thing at a time."""

    def __init__(self, provider: Provider, fleet: Fleet, teller: Teller) -> None:
        self._provider = provider
        self._fleet = fleet
        self._teller = teller
        self._one_at_a_time = asyncio.Lock()

    def by_action(self) -> dict[StepAction, Handler]:
        """Return what the executor wants."""
        return {
            "remove-node": self.remove_node,
            "forget-node": self.forget_node,
            "destroy-machine": self.destroy_machine,
        }

    async def remove_node(self, step: Step) -> Result:
        """Drain the node and delete it, on a server host. A node that cannot be drained stays, cordoned."""
        session = await self._fleet.session(step.host)
        drained = await session.call(
            "node",
            arguments=("drain", step.node, "--timeout", f"{DRAIN_SECONDS:g}"),
            on_event=lambda event: self._teller.host_said(step, event),
            deadline_seconds=DRAIN_SECONDS + _MARGIN_SECONDS,
        )
        codes = [failure.code for failure in drained.failures]
        if drained.outcome not in _GOOD and not (codes and all(code in _NO_OBSTACLE for code in codes)):
            return drained
        return await self.forget_node(step)

    async def forget_node(self, step: Step) -> Result:
        """Delete the node, on a server host; one that is not there is no obstacle."""
        session = await self._fleet.session(step.host)
        return await session.call("node", arguments=("remove", step.node), deadline_seconds=_SHORT_CALL_SECONDS)

    async def destroy_machine(self, step: Step) -> Result:
        """Destroy the machine; its node has left before."""
        async with self._one_at_a_time:
            await self._provider.destroy((step.host,), self._teller.machine)
        return Result("done")
