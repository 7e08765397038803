"""Pushing artefacts: one run on each host, whatever the number of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import pytest

from productive_k3s.contract.events import Event, Result
from productive_k3s.contract.request import Artifact
from productive_k3s.k3s import paths
from productive_k3s_infra.errors import StepFailed
from productive_k3s_infra.execute.steps.stage_artifacts import stage_artifacts
from productive_k3s_infra.hosts.fleet.in_process import InProcessSession
from productive_k3s_infra.plan.step import StageArtifacts
from productive_k3s_infra.rehearse.system import SimulatedSystem
from static.fleet_doubles import tools

CONTENTS = {"k3s": b"k" * 1_600_000, "images.tar": b"i" * 2_500_000}
ARTIFACTS = {name: Artifact(name, hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()}
STEP = StageArtifacts(
    id="server-1/stage-artifacts",
    host="server-1",
    reason="this computer pushes k3s, images.tar",
    impact="change",
    artifacts=(ARTIFACTS["k3s"], ARTIFACTS["images.tar"]),
)


class Fleet:
    """One simulated host that counts its calls."""

    def __init__(self) -> None:
        self.system = SimulatedSystem()
        self.verbs: list[str] = []

    async def session(self, host: str) -> InProcessSession:
        made = InProcessSession(host, self.system, cast("Any", None))
        call = made.call

        async def counted(verb: str, *arguments: Any, **named: Any) -> Any:
            self.verbs.append(verb)
            return await call(verb, *arguments, **named)

        made.call = counted  # type: ignore[method-assign]
        return made

    async def close(self) -> None: ...


class Pushing:
    """Handlers over that host; the files lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self.fleet = Fleet()
        self.said: list[str] = []
        self.files = {ARTIFACTS[name].sha256: folder / name for name in CONTENTS}
        for name, content in CONTENTS.items():
            (folder / name).write_bytes(content)

    async def push(self) -> Result:
        return await stage_artifacts(tools(self.fleet, local_files=self.files), STEP, self._hear)

    def _hear(self, event: Event) -> None:
        self.said.append(event.message)

    async def kept(self, name: str) -> bytes | None:
        return await self.fleet.system.read(paths.staged(ARTIFACTS[name].sha256, name))


@pytest.fixture
def pushing(tmp_path: Path) -> Pushing:
    return Pushing(tmp_path)


async def test_all_files_go_in_one_run_and_each_is_told(pushing: Pushing) -> None:
    result = await pushing.push()
    assert (result.outcome, pushing.fleet.verbs) == ("done", ["stage"])
    assert [text for text in pushing.said if text.startswith("push")] == ["push k3s, 2 MB", "push images.tar, 2 MB"]
    assert {name: await pushing.kept(name) for name in CONTENTS} == CONTENTS
    assert (await pushing.push()).outcome == "unchanged"


async def test_a_file_that_changed_on_this_computer_is_the_hosts_to_refuse(pushing: Pushing) -> None:
    pushing.files[ARTIFACTS["images.tar"].sha256].write_bytes(b"x" * 2_500_000)
    result = await pushing.push()
    assert [failure.code for failure in result.failures] == ["artifact.checksum"]
    assert (await pushing.kept("k3s"), await pushing.kept("images.tar")) == (CONTENTS["k3s"], None)


async def test_a_file_that_is_gone_is_known_before_the_host_is_asked(pushing: Pushing) -> None:
    del pushing.files[ARTIFACTS["images.tar"].sha256]
    with pytest.raises(StepFailed) as caught:
        await pushing.push()
    assert caught.value.code == "artifact.missing"
    assert pushing.fleet.verbs == []
