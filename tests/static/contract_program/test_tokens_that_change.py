"""Tokens that are corrected, rotated or somebody else's: what a later run makes of the files and of what runs."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from productive_k3s.contract.request import Join, Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import run_to_end
from productive_k3s.effects.install import apply_change
from productive_k3s.effects.start import running_record
from productive_k3s.k3s import paths
from productive_k3s.k3s.token import password_digest
from productive_k3s.plan.changes import assess
from static.contract_program.hosts import agent, desired_files
from static.contract_program.running_servers import Own, codes, ids, wish
from static.contract_program.simulated import NOW, STARTED, STARTED_SECONDS, Machine
from static.contract_program.systemd import task_on

CA = "a" * 64
URL = "https://10.0.0.11:6443"
RIGHT, WRONG = f"K10{CA}::node:right", f"K10{CA}::node:wrong"


def joining(token: str | None) -> Request:
    return agent(binary=None, join=Join(URL, Secret(token) if token else None))


class Agent(Machine):
    """An agent that was started with a token, and asks the server again and again."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.put({file.path: file.text for file in desired_files(joining(token), self.facts())})
        self.put({paths.BINARY: "x", paths.AGENT_TOKEN: f"{token}\n"})
        for name in paths.LINKS:
            self.system.put_link(f"/usr/local/bin/{name}", "k3s")
        self.system.script(paths.BINARY, "--version", stdout="k3s version v1.34.4+k3s1 (e060c0b1)\n")
        self.units.set(
            "k3s-agent",
            LoadState="loaded",
            ActiveState="activating",
            UnitFileState="enabled",
            MainPID="7",
            InvocationID="i1",
            ExecMainStartTimestamp=STARTED,
            FragmentPath=paths.unit_file("k3s-agent"),
            DropInPaths="",
            NeedDaemonReload="no",
        )

    def put(self, files: dict[str, str]) -> None:
        self.system.put(files, changed=STARTED_SECONDS - 60)

    def record(self) -> None:
        on_disk = self.facts().k3s.on_disk
        assert on_disk is not None
        document = json.dumps(running_record("i1", on_disk))
        self.system.put({paths.running_record("k3s-agent"): document})


def wanted(machine: Machine, token: str | None, *, planning: bool = False) -> list[str]:
    found = assess(joining(token), machine.facts(), planning=planning)
    assert not found.vetoes
    return [change.id for change in found.changes]


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_corrected_token_that_is_not_active_yet_is_seen(is_recorded: bool) -> None:
    """A run was cut off after the token was written, and before the restart."""
    machine = Agent(WRONG)
    if is_recorded:
        machine.record()
    assert wanted(machine, WRONG) == ["wait:k3s-agent"]
    machine.system.put({paths.AGENT_TOKEN: f"{RIGHT}\n"}, changed=NOW)
    assert wanted(machine, RIGHT) == ["restart:k3s-agent", "wait:k3s-agent"]


def test_a_plan_without_a_token_agrees_to_what_the_host_will_need() -> None:
    machine = Agent(WRONG)
    machine.record()
    planned = wanted(machine, None, planning=True)
    assert set(wanted(machine, RIGHT)) <= set(planned)
    assert f"secret:{paths.AGENT_TOKEN}" in wanted(machine, RIGHT)
    # If it is the right one after all the host does less than was agreed to.
    assert wanted(machine, WRONG) == ["wait:k3s-agent"]
    machine.units.set("k3s-agent", ActiveState="active")
    assert wanted(machine, None, planning=True) == []


def test_the_same_password_in_another_form_is_the_same_token() -> None:
    assert password_digest("pw:with:colons") == password_digest(f"K10{CA}::node:pw:with:colons\n")
    machine = Own(wish())
    assert ids(machine.assess()) == []
    machine.put({paths.SERVER_TOKEN: f"K10{CA}::server:of-the-server\n"})
    assert ids(machine.assess()) == []


class TestRotation:
    """`k3s token rotate` leaves the file alone that config.yaml names."""

    NEW: ClassVar[dict[str, str]] = {paths.CLUSTER_SERVER_TOKEN: f"K10{CA}::server:rotated\n"}

    def test_where_it_was_rotated_the_file_follows(self) -> None:
        machine = Own(wish())
        machine.system.put(self.NEW)
        found = machine.assess()
        assert ids(found) == [f"secret:{paths.SERVER_TOKEN}", "restart:k3s", "wait:k3s"]
        assert "was rotated" in found.changes[0].reason
        facts = machine.facts()
        run_to_end(apply_change(task_on(machine.host(), wish(), facts, "new"), found.changes[0]))
        assert machine.system.snapshot()[paths.SERVER_TOKEN].content == b"rotated\n"
        joined = wish(join=Join("https://10.0.0.12:6443"))
        run_to_end(apply_change(task_on(machine.host(), joined, facts, "new"), found.changes[0]))
        assert machine.system.snapshot()[paths.SERVER_TOKEN].content == b"rotated\n"

    def test_what_a_person_corrected_is_not_written_over(self) -> None:
        """Another server's token was rotated; its new token lies here, and K3s was not started with it yet."""
        machine = Own(wish())
        on_disk = machine.facts().k3s.on_disk
        assert on_disk is not None
        machine.system.put({paths.running_record("k3s"): json.dumps(running_record("i1", on_disk))})
        machine.system.put({paths.SERVER_TOKEN: "rotated\n"})
        found = machine.assess()
        assert ids(found) == ["restart:k3s", "wait:k3s"]
        assert "a different token" in found.changes[0].reason

    def test_where_nobody_knows_it_is_a_veto(self) -> None:
        machine = Own(wish())
        machine.system.put(self.NEW)
        machine.units.set("k3s", ActiveState="inactive", MainPID="0")
        found = machine.assess()
        assert codes(found) == ["k3s.token-differs"]
        assert f"write the new token into {paths.SERVER_TOKEN}" in found.vetoes[0].remedy
        assert "rotated" not in repr(machine.facts())
