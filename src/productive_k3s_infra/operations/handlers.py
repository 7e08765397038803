"""What the executor calls for each action of a step: one call of the contract on one host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Event, Result
from productive_k3s.contract.request import Artifact, Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.push import push_seconds, while_taken
from productive_k3s_infra.errors import StepFailed
from productive_k3s_infra.execute.executor import Handler
from productive_k3s_infra.hosts.fleet.gathering import failed
from productive_k3s_infra.hosts.fleet.session import Fleet, HostSession
from productive_k3s_infra.plan.model import Step, StepAction
from productive_k3s_infra.plan.pipeline import AGENT_TOKEN

_CHUNK_BYTES = 1 << 20
_CALL_MARGIN_SECONDS = 60.0
_SHORT_CALL_SECONDS = 60.0

NO_SECRETS = Secrets()

StepEvents = Callable[[Step, Event], None]


class TokenSource:
    """The agent token of the cluster: what the first server said when it was made, else asked from it once.

    The token stays in memory only. Agents that start at the same time share one question.
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

    def hear(self, host: str, result: Result) -> Result:
        """Take the token out of a server's result: nobody who keeps results shall keep it."""
        if host == self._server and result.data and "agent" in result.data:
            self._known = Secret(str(result.data["agent"]))
        return replace(result, data=None)

    def arguments(self, step: Step) -> tuple[str, ...]:
        """Return what makes the first server say its tokens in the end."""
        return ("--tokens",) if step.action == "apply-server" and step.host == self._server else ()

    async def _ask(self) -> Secret:
        session = await self._fleet.session(self._server)
        result = await session.call("token", deadline_seconds=_SHORT_CALL_SECONDS)
        if result.outcome not in {"done", "unchanged"} or not result.data:
            raise failed(self._server, result)
        return Secret(str(result.data["agent"]))


@dataclass(frozen=True)
class _File:
    """An artefact as it lies on this computer."""

    artifact: Artifact
    path: Path
    size: int


class Handlers:
    """The handlers of the cluster stage.

    `local_files` maps a digest to the file on this computer that is pushed; `secrets` are those of every request.
    """

    def __init__(
        self,
        fleet: Fleet,
        tokens: TokenSource,
        local_files: Mapping[str, Path],
        on_event: StepEvents,
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self._fleet = fleet
        self._tokens = tokens
        self._local_files = local_files
        self._on_event = on_event
        self._secrets = secrets

    def by_action(self) -> dict[StepAction, Handler]:
        """Return what the executor wants."""
        return {
            "stage-artifacts": self.stage_artifacts,
            "apply-server": self.apply,
            "apply-agent": self.apply,
            "label-node": self.label_node,
        }

    async def stage_artifacts(self, step: Step) -> Result:
        """Push what the host lacks in one run; each file once, verified there before it gets its name."""
        request = _request(step)
        session = await self._fleet.session(step.host)
        files = [
            self._file(step, artifact) for artifact in (*([request.binary] if request.binary else []), *request.images)
        ]
        return await self._stage(session, step, files) if files else Result("unchanged")

    async def apply(self, step: Step) -> Result:
        """Send the request, with its secrets, and the token filled in where the plan has a placeholder for it."""
        request = replace(_request(step), secrets=self._secrets)
        if request.join is not None and any(item.name == AGENT_TOKEN for item in step.placeholders):
            request = replace(request, join=replace(request.join, token=await self._tokens.agent_token()))
        session = await self._fleet.session(step.host)
        result = await session.call(
            request.mode,
            encode(request, unmask=True),
            arguments=self._tokens.arguments(step),
            on_event=lambda event: self._on_event(step, event),
            deadline_seconds=_call_seconds(request),
        )
        return self._tokens.hear(step.host, result)

    async def label_node(self, step: Step) -> Result:
        """Set and remove labels and taints of a Node through the API, on a server host."""
        labels = step.labels or {}
        words = [f"{key}={value}" if value is not None else f"{key}-" for key, value in labels.items()]
        session = await self._fleet.session(step.host)
        result = Result("unchanged")
        for action, said in (("label", words), ("taint", list(step.taints))):
            if said and not result.failures:
                asked = (action, step.node, *said)
                result = await session.call("node", arguments=asked, deadline_seconds=_SHORT_CALL_SECONDS)
        return result

    def _file(self, step: Step, artifact: Artifact) -> _File:
        path = self._local_files.get(artifact.sha256)
        if path is None:
            raise StepFailed(
                f"{artifact.name} is not on this computer",
                where=step.host,
                remedy="run pk3s apply again: it is fetched anew",
                code="artifact.missing",
            )
        return _File(artifact, path, path.stat().st_size)

    async def _stage(self, session: HostSession, step: Step, files: Sequence[_File]) -> Result:
        words = [("--file", f"{file.artifact.sha256}:{file.size}:{file.artifact.name}") for file in files]

        async def push(contents: AsyncIterator[bytes]) -> Result:
            return await session.call(
                "stage",
                arguments=tuple(word for pair in words for word in pair),
                on_event=lambda event: self._on_event(step, event),
                deadline_seconds=push_seconds(file.size for file in files),
                payload=contents,
            )

        return await while_taken(step.host, self._contents(step, files), push)

    async def _contents(self, step: Step, files: Sequence[_File]) -> AsyncIterator[bytes]:
        for file in files:
            self._on_event(step, Event("note", f"push {file.artifact.name}, {file.size / 1e6:.0f} MB", 0.0))
            with file.path.open("rb") as source:
                while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
                    yield chunk


def longest_seconds(steps: Sequence[Step], local_files: Mapping[str, Path]) -> float:
    """Return how long the steps can take at the most, from the first one's start: all hosts work at the same time.

    Each pushes at the most what this computer has to push, `local_files`.
    """
    pushed = push_seconds(path.stat().st_size for path in local_files.values() if path.exists()) if local_files else 0.0
    return pushed + max((_call_seconds(step.request) for step in steps if step.request), default=0.0)


def _call_seconds(request: Request) -> float:
    limits = request.deadlines
    return limits.download + limits.start + limits.ready + _CALL_MARGIN_SECONDS


def _request(step: Step) -> Request:
    if step.request is None:
        raise TypeError(f"step {step.id} has no request")
    return step.request
