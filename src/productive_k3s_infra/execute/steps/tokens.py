"""The agent token of the cluster, in memory only."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from productive_k3s.contract.events import Result
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.execute.steps.calls import GOOD, SHORT_SECONDS
from productive_k3s_infra.hosts.fleet.gathering import failed
from productive_k3s_infra.hosts.fleet.session import Fleet


class TokenSource:
    """The agent token: what a server said when it was made, else asked of `server`, one that lives, once.

    Agents that start at the same time share one question.
    """

    def __init__(self, fleet: Fleet, server: str) -> None:
        self._fleet = fleet
        self._server = server
        self._known: Secret | None = None
        self._asked: asyncio.Task[Secret] | None = None

    async def agent_token(self) -> Secret:
        """Return the agent token in its secure form; raises what the server's host says when it cannot."""
        if self._known is not None:
            return self._known
        if self._asked is None:
            self._asked = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._asked)

    def hear(self, result: Result) -> Result:
        """Take the token out of a server's result: nobody who keeps results shall keep it."""
        if result.data and "agent" in result.data:
            self._known = Secret(str(result.data["agent"]))
        return replace(result, data=None)

    async def _ask(self) -> Secret:
        session = await self._fleet.session(self._server)
        result = await session.call("token", deadline_seconds=SHORT_SECONDS)
        if result.outcome not in GOOD or not result.data:
            raise failed(self._server, result)
        return Secret(str(result.data["agent"]))
