"""Two cluster files in one folder, as docs/how-to/local.md has them: neither loses anything by what the other does."""

from __future__ import annotations

from pathlib import Path

import pytest

from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.operations import afterwards, apply_run
from productive_k3s_infra.operations import apply as applying
from productive_k3s_infra.operations import destroy as destroying
from productive_k3s_infra.operations import plan as planning
from productive_k3s_infra.operations.applied import Applied
from productive_k3s_infra.operations.destroyed import Destroyed
from productive_k3s_infra.workspace.record import read_record
from static.operations.world import Person, World, answer_for, session_of, write_cluster_file


class Both:
    """Two files, two worlds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worlds = {"edge": World("edge", "10.213.0"), "north": World("north", "10.213.1")}
        self.files = {
            "edge": write_cluster_file(folder, "cluster.yaml", "edge"),
            "north": write_cluster_file(folder, "other.yaml", "north"),
        }
        self.person = Person()

    async def apply(self, name: str) -> Applied:
        return await applying.apply(session_of(self.files[name], self.worlds[name], self.person), probe=False)

    async def plan(self, name: str) -> planning.Planned:
        return await planning.make_plan(session_of(self.files[name], self.worlds[name], self.person))

    async def destroy(self, name: str) -> Destroyed:
        return await destroying.destroy(session_of(self.files[name], self.worlds[name], self.person))

    def recorded(self, name: str) -> str:
        record = read_record(self.folder, name)
        return record.ca_hash if record is not None else ""


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    found = Both(tmp_path)
    answer_for(monkeypatch, found.worlds.values(), apply_run, afterwards, planning, destroying)
    return found


async def test_both_are_made_and_each_keeps_its_record(both: Both) -> None:
    for name in ("edge", "north"):
        applied = await both.apply(name)
        assert applied.exit_code == 0, [check for check in applied.preflight.checks if not check.passed]
    assert both.recorded("edge") == both.worlds["edge"].ca_hash != both.recorded("north")
    assert both.recorded("north") == both.worlds["north"].ca_hash
    for name in ("north", "edge"):
        planned = await both.plan(name)
        assert planned.exit_code == 0
        assert not planned.plan.steps


async def test_the_one_that_stays_is_the_same_after_the_other_is_destroyed(both: Both) -> None:
    await both.apply("edge")
    await both.apply("north")
    assert (await both.destroy("north")).exit_code == 0
    assert both.recorded("edge") == both.worlds["edge"].ca_hash
    assert both.recorded("north") == ""
    assert not (await both.plan("edge")).plan.steps
    assert (await both.destroy("edge")).exit_code == 0
    assert not (both.folder / "cluster.lock").exists()


async def test_a_server_that_lost_its_datastore_is_still_refused_beside_another(both: Both) -> None:
    await both.apply("edge")
    await both.apply("north")
    both.worlds["edge"].machines["server-1"] = both.worlds["edge"].empty("server-1")
    planned = await both.plan("edge")
    assert planned.exit_code == 4
    assert "cluster.second" in {check.id for check in planned.preflight.failed}
    assert not (await both.plan("north")).plan.steps


@pytest.mark.parametrize(
    "text", ["schema: 2\nclusters: [\n", f"schema: 1\ncaHash: {'a' * 64}\nversion: v1.34.4+k3s1\n"]
)
async def test_a_record_that_is_not_understood_stops_everything_before_anything(both: Both, text: str) -> None:
    await both.apply("edge")
    (both.folder / "cluster.lock").write_text(text)
    for work in (both.plan, both.apply, both.destroy):
        with pytest.raises(BadInput) as caught:
            await work("edge")
        assert caught.value.code.startswith("record.")
        assert "cluster.lock:" in caught.value.where
    assert both.worlds["edge"].machines["server-1"] is not None
    assert (both.folder / "cluster.lock").read_text() == text
