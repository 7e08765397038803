"""A run that ends early says so in its journal, and its error knows where that is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from productive_k3s_infra.errors import HostUnreachable, Interrupted, Locked
from productive_k3s_infra.operations.journaled import journaled
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.journal import list_journals, read_journal


class _Silent:
    """Nobody is there."""

    def note(self, message: str) -> None:
        pytest.fail(message)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    unused = cast("Any", None)
    return Session(unused, Workspace(tmp_path / "cluster.yaml", "edge"), unused, cast("Any", _Silent()))


def ended(session: Session) -> list[tuple[str, Any]]:
    (path,) = list_journals(session.workspace)
    return [(entry.kind, entry.fields) for entry in read_journal(path)][1:]


def test_an_error_is_written_down_and_knows_the_journal(session: Session) -> None:
    with pytest.raises(HostUnreachable) as caught, journaled(session, "apply"):
        raise HostUnreachable("no connection", where="agent-1", remedy="is it up?")
    assert caught.value.journal == str(list_journals(session.workspace)[0])
    (failed, said), (end, code) = ended(session)
    assert (failed, said["failure"]["code"]) == ("failed", "ssh.unreachable")
    assert said["failure"]["what"] == "agent-1: no connection"
    assert (end, code) == ("ended", {"exit_code": 5})


async def test_a_cancelled_run_is_interrupted_and_knows_the_journal(session: Session) -> None:
    async def run() -> None:
        with journaled(session, "apply"):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(Interrupted) as caught:
        await task
    assert caught.value.code == "run.interrupted"
    assert caught.value.journal.endswith(".jsonl")
    assert ended(session)[-1] == ("ended", {"exit_code": 130})


def test_a_bug_is_raised_as_it_is_and_its_traceback_kept(session: Session) -> None:
    with pytest.raises(ZeroDivisionError), journaled(session, "apply"):
        _ = 1 / 0
    (kind, said) = ended(session)[-1]
    assert kind == "bug"
    assert "ZeroDivisionError" in said["error"]
    assert "test_journaled.py" in said["error"]


def test_only_one_at_a_time(session: Session) -> None:
    with journaled(session, "apply"), pytest.raises(Locked), journaled(session, "destroy"):
        pytest.fail("two at once")
    with journaled(session, "destroy"):
        pass
