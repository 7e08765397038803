"""A server's part of a full validation, begun while new agents still join.

It makes the pods of each node as soon as that is Ready, so most of its time passes while agents are waited for anyway.
What it finds counts only if every step ended well; otherwise it is told to stop, and takes its pods away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.validate.quick import Answer

# From the last step's end on: as long as an ordinary validation takes at the most.
_LATEST_SECONDS = 300.0


class ValidationAhead:
    """Begins once the step `after` has ended well, at once if there is none; `ask` asks the server."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, Answer]], after: str | None) -> None:
        self._ask = ask
        self._after = after
        self._asking: asyncio.Task[Answer] | None = None

    def begin(self) -> None:
        """Begin where no step has to end before."""
        if self._after is None:
            self._asking = asyncio.create_task(self._ask(), name="validation ahead")

    def step_ended(self, result: StepResult) -> None:
        """Hear from the executor."""
        if result.step.id == self._after and result.outcome == "done":
            self._after = None
            self.begin()

    async def answer(self) -> Answer | None:
        """Return what the server found, after all steps ended well; None if it has to be asked anew."""
        if self._asking is None:
            return None
        await asyncio.wait({self._asking}, timeout=_LATEST_SECONDS)
        if not self._asking.done():
            await self.drop()
            return None
        found = self._asking.result()
        return None if isinstance(found, Pk3sError) else found

    async def drop(self) -> None:
        """Tell the server to stop and to clean up, and wait a bounded time until it does."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
