"""`pk3s logs NODE`: only that host is asked, each line is shown once, and a node that is gone is told of clearly."""

from __future__ import annotations

from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s_infra.cli.hosts import logs_lines
from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.operations.log_following import follow_logs
from productive_k3s_infra.operations.logs import get_logs, since_of
from productive_k3s_infra.plan.model import ClusterRecord, Reach
from productive_k3s_infra.providers.protocol import Survey, SurveyedMachine
from productive_k3s_infra.workspace.record import write_record
from static.fleet_doubles import Call
from static.operations.bed import World, enter
from static.plan.clusters import spec

# As journalctl's short-iso writes it: one second with three lines, one of which goes on.
SAID = [
    "2026-11-29T01:00:00+0100 host k3s[1]: one",
    "2026-11-29T01:00:05+0100 host k3s[1]: two",
    "2026-11-29T01:00:05+0100 host k3s[1]: three",
    "                                      goes on",
    "2026-11-29T01:00:05+0100 host k3s[1]: three",
    "2026-11-29T01:00:09+0100 host k3s[1]: four",
]


class Journal:
    """A host's journal that grows between two looks; it answers as `productive-k3s logs` does."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = list(lengths)
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, call: Call) -> Result:
        self.asked.append((call.host, call.arguments))
        there = SAID[: self.lengths.pop(0)]
        since = next((int(word.partition("=")[2]) for word in call.arguments if word.startswith("--since=")), None)
        if since is not None and since > 0:
            first = next(
                (n for n, line in enumerate(there) if line[0] == "2" and since_of(line.split()[0]) >= since), 99
            )
            there = there[first:]
        lines = int(call.arguments[1])
        return Result("done", data={"k3s": "".join(f"{line}\n" for line in there[-lines:])})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    return made


async def test_one_host_is_asked_and_no_other(world: World) -> None:
    journal = world.instead["logs"] = Journal(6)
    found = await get_logs(world.session, "agent-1", lines=2, since="10m")
    assert journal.asked == [("agent-1", ("--lines", "2", "--since=-600"))]
    assert list(logs_lines(found)) == SAID[-2:]
    assert {call.host for call in world.fleet.calls} == {"agent-1"}


async def test_units_are_told_apart_where_there_are_two(world: World) -> None:
    world.instead["logs"] = lambda _call: Result("done", data={"k3s": "a\n", "k3s-agent": "b\n"}, notes=("n",))
    found = await get_logs(world.session, "agent-1")
    assert list(logs_lines(found)) == ["k3s: a", "k3s-agent: b"]
    assert found.notes == ("n",)


@pytest.mark.parametrize("steps", [(1, 6), (2, 3, 4, 5, 6), (2, 2, 5, 5, 6), (0, 3, 6), (6, 6)])
async def test_each_line_comes_once_however_the_journal_grows(world: World, steps: tuple[int, ...]) -> None:
    world.instead["logs"] = Journal(*steps)
    shown: list[str] = []
    following = follow_logs(world.session, "agent-1", pause=0)
    for _ in steps:
        shown += logs_lines(await anext(following))
    await following.aclose()  # type: ignore[attr-defined]
    assert shown == SAID


async def test_following_begins_with_the_last_lines_only(world: World) -> None:
    """The last second has more lines than are shown: none of them comes later."""
    world.instead["logs"] = Journal(5, 6)
    following = follow_logs(world.session, "agent-1", lines=1, pause=0)
    assert list(logs_lines(await anext(following))) == SAID[4:5]
    assert list(logs_lines(await anext(following))) == SAID[5:]
    await following.aclose()  # type: ignore[attr-defined]


async def test_a_node_that_left_the_file_is_gone_and_one_that_never_was_is_unknown(world: World) -> None:
    old = {"agent-9": Reach("10.0.0.99", "ops")}
    write_record(world.session.workspace.folder, "edge", ClusterRecord("ab" * 32, "v1.34.4+k3s1", old))
    with pytest.raises(BadInput) as caught:
        await get_logs(world.session, "agent-9")
    assert caught.value.code == "node.gone"
    assert "ops@10.0.0.99:22" in caught.value.evidence
    with pytest.raises(BadInput) as caught:
        await get_logs(world.session, "agent-8")
    assert (caught.value.code, caught.value.where) == ("node.unknown", "agent-8")
    assert "agent-1" in caught.value.evidence
    assert world.fleet.calls == []


async def test_a_machine_that_does_not_run_and_one_without_k3s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    world.instead["logs"] = lambda _call: Result("done", data={})
    with pytest.raises(StepFailed) as caught:
        await get_logs(world.session, "agent-1")
    assert caught.value.code == "logs.none"
    missing = Survey(True, tuple(SurveyedMachine(name, "missing") for name in ("server-1", "agent-1", "agent-2")))
    absent = World(tmp_path, spec(), machines=missing)
    enter(absent, monkeypatch)
    with pytest.raises(StepFailed) as caught:
        await get_logs(absent.session, "agent-1")
    assert (caught.value.code, caught.value.where) == ("cluster.missing", "agent-1")


def test_times_are_so_long_ago_or_iso() -> None:
    assert [since_of(text) for text in ("30s", "10m", "2h", "3d")] == [-30, -600, -7200, -259200]
    assert since_of("1970-01-02T00:00:00+00:00") == 86400
    for text in ("", "10", "yesterday", "-5m", "$(id)"):
        with pytest.raises(BadInput) as caught:
            since_of(text)
        assert caught.value.code == "logs.since"
