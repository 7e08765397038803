"""`apply-server` and `apply-agent`: one call of the contract, with its secrets filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Result
from productive_k3s.contract.request import Request
from productive_k3s_infra.artifacts.push import push_seconds
from productive_k3s_infra.execute.model import Say
from productive_k3s_infra.execute.steps.calls import call_seconds
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, Step


async def apply_server(tools: Tools, step: ApplyServer, say: Say) -> Result:
    """Send the request; the server says its tokens in the end, so that nobody has to ask it again."""
    return tools.tokens.hear(await _send(tools, step.host, step.request, say, ("--tokens",)))


async def apply_agent(tools: Tools, step: ApplyAgent, say: Say) -> Result:
    """Send the request, with the token where the plan has a placeholder for it."""
    request = step.request
    if request.join is not None and step.token is not None:
        request = replace(request, join=replace(request.join, token=await tools.tokens.agent_token()))
    return replace(await _send(tools, step.host, request, say), data=None)


async def _send(tools: Tools, host: str, request: Request, say: Say, arguments: tuple[str, ...] = ()) -> Result:
    session = await tools.fleet.session(host)
    return await session.call(
        request.mode,
        encode(replace(request, secrets=tools.secrets), unmask=True),
        arguments=arguments,
        on_event=say,
        deadline_seconds=call_seconds(request),
    )


def longest_seconds(steps: Sequence[Step], local_files: Mapping[str, Path]) -> float:
    """Return how long the steps can take at the most, from the first one's start: all hosts work at the same time.

    Each pushes at the most what this computer has to push, `local_files`.
    """
    pushed = push_seconds(path.stat().st_size for path in local_files.values() if path.exists()) if local_files else 0.0
    runs = (call_seconds(step.request) for step in steps if isinstance(step, ApplyServer | ApplyAgent))
    return pushed + max(runs, default=0.0)
