"""`stage-artifacts`: push what a host lacks in one run; each file once, verified there before it gets its name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from productive_k3s.contract.events import Event, Result
from productive_k3s.contract.request import Artifact
from productive_k3s_infra.artifacts.push import push_seconds, while_taken
from productive_k3s_infra.errors import StepFailed
from productive_k3s_infra.execute.model import Say
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.plan.step import StageArtifacts

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class _File:
    """An artefact as it lies on this computer."""

    artifact: Artifact
    path: Path
    size: int


async def stage_artifacts(tools: Tools, step: StageArtifacts, say: Say) -> Result:
    """Push the step's files, all in one run; a file that is not here any more is known before the host is asked."""
    session = await tools.fleet.session(step.host)
    files = [_file(tools, step.host, artifact) for artifact in step.artifacts]
    if not files:
        return Result("unchanged")
    words = [("--file", f"{file.artifact.sha256}:{file.size}:{file.artifact.name}") for file in files]

    async def push(contents: AsyncIterator[bytes]) -> Result:
        return await session.call(
            "stage",
            arguments=tuple(word for pair in words for word in pair),
            on_event=say,
            deadline_seconds=push_seconds(file.size for file in files),
            payload=contents,
        )

    return await while_taken(step.host, _contents(files, say), push)


def _file(tools: Tools, host: str, artifact: Artifact) -> _File:
    path = tools.local_files.get(artifact.sha256)
    if path is None:
        raise StepFailed(
            f"{artifact.name} is not on this computer",
            where=host,
            remedy="run pk3s apply again: it is fetched again",
            code="artifact.missing",
        )
    return _File(artifact, path, path.stat().st_size)


async def _contents(files: Sequence[_File], say: Say) -> AsyncIterator[bytes]:
    for file in files:
        say(Event("note", f"push {file.artifact.name}, {file.size / 1e6:.0f} MB", 0.0))
        with file.path.open("rb") as source:
            while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
                yield chunk
