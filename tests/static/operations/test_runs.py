"""`pk3s runs`: a run told from the journal that a real apply has written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.answers.verbs import runs_answer
from productive_k3s_infra.cli.runs import run_lines, runs_lines
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.run_timeline import run_of
from productive_k3s_infra.operations.runs import get_run, list_runs
from productive_k3s_infra.workspace.journal import JournalEntry, list_journals, read_journal
from static.fleet_doubles import Call
from static.operations.bed import World, enter
from static.plan.clusters import spec

REFUSED = Failure("k3s.ca-mismatch", "another cluster", "CA aa", "remove it", 4)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, spec(2))
    enter(made, monkeypatch)
    return made


def entry(seconds: float, kind: str, **fields: object) -> JournalEntry:
    return JournalEntry(f"2026-01-01T00:00:{seconds:06.3f}+00:00", seconds, kind, fields)


STARTED = entry(0.0, "run-started", schema=1, verb="apply", pid=1, cluster="edge")
PLAN = entry(
    1.0,
    "plan",
    plan={
        "steps": [
            {"id": "s/apply-server", "needs": []},
            {"id": "a/stage", "needs": []},
            {"id": "a/apply-agent", "needs": ["s/apply-server", "a/stage"]},
            {"id": "b/apply-agent", "needs": ["s/apply-server"]},
        ]
    },
)


def step(name: str, began: float, ended: float, outcome: str = "done") -> tuple[JournalEntry, JournalEntry]:
    host = name.partition("/")[0]
    return (
        entry(began, "step-started", step=name, host=host, reason="r"),
        entry(ended, "step-ended", step=name, host=host, outcome=outcome, failure=None, skipped_for=""),
    )


async def test_a_real_journal_says_what_waited_for_what(world: World) -> None:
    await apply(world.session, probe=False)
    run = get_run(world.session.workspace, "last")
    (journal,) = list_journals(world.session.workspace)
    assert (run.id, run.verb, run.cluster, run.exit_code) == (journal.stem, "apply", "edge", 0)
    waited = {step.id: step.waited_for for step in run.steps}
    assert waited["server-1/apply-server"] in {"", "server-1/stage-artifacts"}
    assert waited["agent-1/apply-agent"] == waited["agent-2/apply-agent"] == "server-1/apply-server"
    assert {step.outcome for step in run.steps} == {"done"}
    path = [step.id for step in run.critical_path]
    assert path[-2] == "server-1/apply-server"
    assert path[-1] in {"agent-1/apply-agent", "agent-2/apply-agent"}
    assert list(runs_answer((run,)).runs[0].critical_path) == path
    lines = list(run_lines(run))
    assert lines[0].startswith("apply of edge, ")
    assert lines[0].endswith("succeeded")
    (first, *agents) = (line for line in lines if "/apply-" in line and "critical path" not in line)
    assert first.startswith("*")
    number = first.split()[1]
    assert [line.split()[-1] for line in agents] == [number, number]
    assert max(map(len, [line for line in lines if "/" in line and "critical path" not in line])) <= 80


async def test_a_failure_and_what_was_skipped_for_it(world: World) -> None:
    def refuse(_call: Call) -> Result:
        return Result("failed", failures=(REFUSED,))

    world.instead["server"] = refuse
    await apply(world.session, probe=False)
    run = get_run(world.session.workspace, "last")
    by_id = {step.id: step for step in run.steps}
    assert (by_id["server-1/apply-server"].outcome, by_id["server-1/apply-server"].failure) == (
        "failed",
        "k3s.ca-mismatch",
    )
    skipped = by_id["agent-1/apply-agent"]
    assert (skipped.outcome, skipped.waited_for, skipped.is_critical) == ("skipped", "server-1/apply-server", False)
    assert "exited with" in next(run_lines(run))
    (row,) = list(runs_lines(list_runs(world.session.workspace)))[1:]
    assert "exited with" in row


def test_the_critical_path_is_the_chain_that_ended_last() -> None:
    entries = (
        *(STARTED, PLAN),
        *step("s/apply-server", 2.0, 10.0),
        *step("a/stage", 2.0, 12.0),
        *step("b/apply-agent", 10.0, 14.0),
        *step("a/apply-agent", 12.0, 20.0),
        entry(21.0, "ended", exit_code=0),
    )
    run = run_of("x", entries)
    assert [one.id for one in run.critical_path] == ["a/stage", "a/apply-agent"]
    assert {one.id: one.waited_for for one in run.steps}["b/apply-agent"] == "s/apply-server"
    lines = list(run_lines(run))
    assert lines[-1] == "critical path: a/stage -> a/apply-agent: 18.0 of 21.0 s"
    assert max(map(len, lines)) < 120


def test_a_run_that_was_killed_is_told_as_far_as_it_goes() -> None:
    begun, _ = step("s/apply-server", 2.0, 10.0)
    run = run_of("x", (STARTED, PLAN, begun, entry(5.0, "host", step="s/apply-server")))
    (one,) = run.steps
    assert (one.outcome, one.seconds, run.exit_code) == ("unknown", 3.0, None)
    assert "does not show how it ended" in next(run_lines(run))


def test_an_empty_journal_is_a_run_of_which_nothing_is_known() -> None:
    assert list(run_lines(run_of("x", ()))) != []


async def test_which_run_is_said_clearly(world: World) -> None:
    workspace = world.session.workspace
    assert list(runs_lines(list_runs(workspace))) == ["There are no journals of runs here yet."]
    with pytest.raises(BadInput) as caught:
        get_run(workspace, "last")
    assert caught.value.code == "run.unknown"
    await apply(world.session, probe=False)
    await apply(world.session, probe=False)
    first, second = list_journals(workspace)
    assert get_run(workspace, second.stem).id == second.stem
    with pytest.raises(BadInput, match="more than one run") as caught:
        get_run(workspace, "2")
    assert first.stem in caught.value.evidence
    with pytest.raises(BadInput, match="no such run"):
        get_run(workspace, "x")


async def test_a_journal_that_cannot_be_read_does_not_hide_the_others(world: World) -> None:
    await apply(world.session, probe=False)
    (good,) = list_journals(world.session.workspace)
    broken = good.with_name("20200101T000000.000000Z-apply-1.jsonl")
    await asyncio.to_thread(broken.write_text, "no journal\n")
    _, bad, well = runs_lines(list_runs(world.session.workspace))
    assert "cannot be read" in bad
    assert "succeeded" in well
    assert len(read_journal(good)) > 3
    with pytest.raises(BadInput, match="not a line of a journal"):
        get_run(world.session.workspace, broken.stem)
