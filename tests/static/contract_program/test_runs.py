"""Runs on simulated machines: what was agreed to, what is left over, and who may read what was written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import HostEntry, Join, Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import ReadingHost, run_to_end
from productive_k3s.facts.gather import gather
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import assess
from productive_k3s.verbs import install
from productive_k3s_infra.rehearse.system import SimulatedSystem
from static.contract_program.hosts import CA, agent, server
from static.contract_program.running_servers import Own, wish
from static.contract_program.simulated import Machine
from static.contract_program.systemd import do, task

NAMES = (HostEntry("10.0.0.12", ("node-2",)),)
HOSTS = f"write-hosts:{paths.HOSTS}"


def written(system: SimulatedSystem) -> dict[str, bytes]:
    return {path: entry.content for path, entry in system.snapshot().items()}


class TestAgreement:
    """What was agreed to is what a plan said, by its ids; a host that needs more by now is left alone."""

    NEEDED = wish(config={"debug": True}, hosts_file=NAMES)

    def changes(self) -> list[str]:
        return [item.id for item in assess(self.NEEDED, self.machine().facts()).changes if item.impact != "read"]

    @staticmethod
    def machine() -> Own:
        machine = Own(wish())
        machine.system.put({paths.HOSTS: "127.0.0.1 localhost\n"})
        return machine

    def test_each_change_is_asked_for_whatever_it_does(self) -> None:
        needed = self.changes()
        assert {"restart:k3s", f"write:{paths.CONFIG}"} < set(needed)
        for missing in needed:
            machine = self.machine()
            before = written(machine.system)
            request = replace(self.NEEDED, agreed=tuple(name for name in needed if name != missing))
            result = run_to_end(install.run(machine.host(), request))
            assert (result.outcome, [item.code for item in result.failures]) == ("refused", ["changes.not-agreed"])
            assert result.failures[0].exit_code == 4
            assert missing in result.failures[0].evidence
            assert written(machine.system) == before

    def test_what_only_looks_needs_nobody(self) -> None:
        machine = Own(wish())
        machine.units.set("k3s", ActiveState="activating")
        assert [item.impact for item in assess(wish(), machine.facts()).changes] == ["read"]
        machine.system.script("systemctl", "show", "k3s", stdout="ActiveState=failed\n")
        machine.system.script("journalctl")
        result = run_to_end(install.run(machine.host(), replace(wish(), agreed=())))
        assert result.outcome != "refused"

    def test_a_host_that_something_changes_back_is_told_of(self) -> None:
        """Somebody's configuration management writes the file anew right after this program."""
        machine = self.machine()
        request = wish(hosts_file=NAMES)
        (change,) = assess(request, machine.facts()).changes

        async def gather_late(host: ReadingHost) -> Facts:
            machine.system.put({paths.HOSTS: "127.0.0.1 localhost\n"})
            return await gather(host)

        result = run_to_end(install.run(machine.host(), request, gather=gather_late))
        assert (result.outcome, [item.code for item in result.failures]) == ("failed", ["changes.left-over"])
        assert (result.failures[0].exit_code, change.id in result.failures[0].evidence) == (5, True)
        assert run_to_end(install.run(machine.host(), request)).outcome == "done"


SECRETS = Secrets({"HTTPS_PROXY": Secret("http://ops:of-the-proxy@p:1")}, {"r": {"password": Secret("of-registry")}})
JOIN = Join("https://10.0.0.11:6443", Secret(f"K10{CA}::server:of-servers"), Secret("of-agents"))


@pytest.mark.parametrize(
    ("request_", "secrets"),
    [
        (server(binary=None), {"made-here": {paths.SERVER_TOKEN, paths.AGENT_TOKEN}}),
        (
            server(binary=None, join=JOIN),
            {"of-servers": {paths.SERVER_TOKEN}, "of-agents": {paths.AGENT_TOKEN}},
        ),
        (
            agent(binary=None, join=replace(JOIN, token=Secret(f"K10{CA}::node:of-agents"), agent_token=None)),
            {"of-agents": {paths.AGENT_TOKEN}},
        ),
        (
            agent(binary=None, secrets=SECRETS, registries={"configs": {"r": {"auth": {"username": "ops"}}}}),
            {"of-the-proxy": {paths.environment_file("k3s-agent")}, "of-registry": {paths.REGISTRIES}},
        ),
    ],
    ids=["first server", "another server", "agent", "surroundings"],
)
def test_a_secret_lies_in_its_own_file_which_only_root_reads(request_: Request, secrets: dict[str, set[str]]) -> None:
    machine = Machine()
    work = replace(task(machine, request_), new_token=lambda: Secret("made-here"))
    changes = assess(request_, work.facts).changes
    do(work, *(item.id for item in changes if item.action in ("write-file", "write-secret")))
    files = machine.system.snapshot()
    for secret, places in secrets.items():
        assert {path for path, entry in files.items() if secret.encode() in entry.content} == places
    private = [path for path in files if path.startswith(("/etc/rancher/", f"{paths.SYSTEMD_DIRECTORY}/k3s"))]
    open_to_all = {path for path in private if files[path].mode & 0o077 and files[path].kind == "file"}
    assert open_to_all == {paths.unit_file(request_.unit)}


def test_a_server_in_the_middle_of_its_join_is_not_stopped() -> None:
    """That can cost the others their quorum; where it fails, systemd starts it again, with the new files."""
    join = Join("https://10.0.0.12:6443")
    machine = Own(wish(join=join))
    machine.units.set("k3s", ActiveState="activating", SubState="start")
    found = [item.id for item in machine.assess(join=join, config={"debug": True}).changes]
    assert found == [f"write:{paths.CONFIG}", "wait:k3s"]
    machine.units.set("k3s", ActiveState="active", SubState="running")
    found = [item.id for item in machine.assess(join=join, config={"debug": True}).changes]
    assert found == [f"write:{paths.CONFIG}", "restart:k3s", "wait:k3s"]
