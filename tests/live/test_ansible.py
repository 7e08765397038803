"""The Ansible role on lab machines makes a cluster from nothing; then pk3s and it find nothing to do, in turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import lab_bed
from ansible_bed import Ended, Playbook
from lab_bed import Bed, Machine, Release
from live.fingerprint import differences, fingerprint
from live.onprem_bed import ONE_LINE, USER, Onprem, make_onprem
from pk3s_bed import Done, Site
from productive_k3s_infra.providers.local.machines import MachineRequest

# Ansible runs a shell as root: one line for one command is not enough for it. On the agent that wants a password.
SUDO = "ALL=(root) NOPASSWD: ALL"
SUDO_WITH_PASSWORD = f"ALL=(root) PASSWD: ALL, {ONE_LINE.removeprefix('ALL=(root) ')}"
PASSWORD = "a-sudo-password"
# Ansible's empty folder for files on their way; that sudo has asked.
LEFT = (f"file /home/{USER}/.ansible", "file /run/sudo")
Runs = Mapping[str, tuple[str, str, str]]


@dataclass(frozen=True)
class Life:
    """How each run ended, in this order, and what was seen of the hosts between them."""

    bed: Bed
    onprem: Onprem
    playbook: Playbook
    nodes: tuple[Machine, ...]
    written: Done
    checked: Ended
    touched_by_check: Mapping[str, list[str]]
    made: Ended
    ready: set[str]
    again: Ended
    taken_over: Done
    planned_there: Done
    planned: Done
    applied: Done
    runs: Runs
    runs_after: Runs
    rewritten: Done
    after_apply: Ended
    removed: Ended
    touched_by_all: Mapping[str, list[str]]


def runs_of(bed: Bed, nodes: tuple[Machine, ...]) -> Runs:
    return {one.name: lab_bed.started(bed, one, lab_bed.unit_of(one.name.partition("-")[0])) for one in nodes}


def touched(bed: Bed, nodes: tuple[Machine, ...], before: Mapping[str, Mapping[str, str]]) -> Mapping[str, list[str]]:
    return {one.name: differences(before[one.name], fingerprint(bed, one), LEFT) for one in nodes}


def take_over(site: Site, bed: Bed, server: Machine) -> tuple[Done, Done]:
    """Write a cluster file of what the role made, somewhere else, and plan by it."""
    site.path.mkdir()
    (site.path / "known_hosts").write_text(f"{server.address} {server.host_key}\n")
    reach = ("--user", USER, "--key", str(bed.key), "--artifacts", str(site.release.directory))
    found = site.pk3s("init", "--name", "taken", "--from-host", server.address, *reach)
    return found, site.pk3s("plan", "--exit-code", "-o", "json")


@pytest.fixture(scope="module")
def life(module_lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    bed, folder = module_lab, tmp_path_factory.mktemp("ansible")
    nodes = bed.create(
        "ansible",
        MachineRequest("server-1", extra_user=USER, sudoers=SUDO),
        MachineRequest("agent-1", ssh_port=2222, extra_user=USER, sudoers=SUDO_WITH_PASSWORD),
    )
    server, agent = nodes
    bed.ssh(agent, "chpasswd", data=f"{USER}:{PASSWORD}\n".encode())
    before = {one.name: fingerprint(bed, one) for one in nodes}
    onprem = make_onprem(folder / "site", bed, k3s_release, kubectl_tool)
    jump = {"address": server.address, "user": USER, "hostKey": server.host_key}
    site = onprem.write(onprem.node("server-1", server), onprem.node("agent-1", agent, ssh={"jump": jump}))
    playbook = Playbook(folder, site.workspace / "ansible" / "hosts.yml")
    written = site.expect(0, "inventory")
    vault = playbook.inventory.parent / "group_vars" / "agents.yml"
    vault.write_text(f"ansible_become_password: {PASSWORD}\n")
    checked = playbook.expect(0, "cluster", "--check", "--diff")
    touched_by_check = touched(bed, nodes, before)
    made = playbook.expect(0, "cluster")
    ready = lab_bed.ready_nodes(bed, nodes[0])
    runs = runs_of(bed, nodes)
    again = playbook.expect(0, "cluster")
    taken_over, planned_there = take_over(Site(folder / "taken", k3s_release, kubectl_tool, "taken"), bed, server)
    planned = site.pk3s("plan", "--exit-code")
    applied = site.expect(0, "apply", "--yes", "-o", "json")
    rewritten = site.expect(0, "inventory", "-o", "json")
    after_apply = playbook.expect(0, "cluster")
    runs_after = runs_of(bed, nodes)
    removed = playbook.expect(0, "uninstall", "-e", "remote_cluster_uninstall=onprem")
    touched_by_all = touched(bed, nodes, before)
    return Life(
        bed,
        onprem,
        playbook,
        nodes,
        written,
        checked,
        touched_by_check,
        made,
        ready,
        again,
        taken_over,
        planned_there,
        planned,
        applied,
        runs,
        runs_after,
        rewritten,
        after_apply,
        removed,
        touched_by_all,
    )


def test_check_mode_shows_the_changes_and_makes_none(life: Life) -> None:
    assert life.checked.count("changed").keys() == {"server-1", "agent-1"}
    assert "+node-name: server-1" in life.checked.out
    assert life.touched_by_check == {"server-1": [], "agent-1": []}


def test_the_role_makes_a_validated_cluster(life: Life) -> None:
    assert life.made.count("changed").keys() == {"server-1", "agent-1"}
    assert life.ready == {"server-1", "agent-1"}
    assert "Validate the host, and from the first server the cluster] *" in life.made.out


def test_the_second_run_changes_nothing(life: Life) -> None:
    assert life.again.count("changed") == {}


def test_pk3s_finds_nothing_to_do_after_the_role(life: Life) -> None:
    assert life.planned.code == 0, life.planned
    assert "Nothing to change." in life.planned.out
    assert life.applied.document["results"] == []
    # What the role's pods have passed counts here, too.
    report = life.applied.document["report"]
    assert (report["passed"], report["scope"]) == (True, "quick")


def test_the_file_that_is_read_off_the_role_s_cluster_changes_the_mark_alone(life: Life) -> None:
    """Under another name: under its own, the agent that was not named would be one that left the file."""
    assert life.taken_over.code == 0, life.taken_over
    assert life.planned_there.code == 3, life.planned_there
    (step,) = life.planned_there.document["plan"]["steps"]
    assert (step["id"], step["impact"]) == ("server-1/apply-server", "change")
    assert {change["id"]: change["reason"] for change in step["changes"]} == {
        "label:server-1": "labels differ: productive-k3s.io/cluster=taken",
        f"write:{lab_bed.CONFIG}": "differs in node-label",
    }
    assert "cosmetic" not in life.planned_there.out


def test_the_role_finds_nothing_to_do_after_pk3s(life: Life) -> None:
    # The cluster's CA is recorded now, and every request expects it.
    changed = set(life.rewritten.document["changed"])
    assert {"host_vars/server-1.yml", "host_vars/agent-1.yml"} <= changed
    assert not {"hosts.yml", "known_hosts"} & changed
    assert life.after_apply.count("changed") == {}
    assert life.runs_after == life.runs


def test_nothing_is_left_after_the_removal(life: Life) -> None:
    assert life.removed.count("changed") == {"server-1": 1, "agent-1": 1}
    assert life.touched_by_all == {"server-1": [], "agent-1": []}


def test_an_unknown_host_key_is_refused_by_openssh(life: Life, tmp_path: Path) -> None:
    known = life.playbook.inventory.parent / "known_hosts"
    text = known.read_text()
    lines = text.splitlines(keepends=True)
    try:
        known.write_text(
            "".join(line.replace(" AAAA", " AAAB") if life.nodes[1].address in line else line for line in lines)
        )
        fresh = Playbook(tmp_path, life.playbook.inventory)
        ended = fresh.play("cluster", "--check", ANSIBLE_SSH_ARGS="-o ControlMaster=no")
    finally:
        known.write_text(text)
    assert ended.code == 4, ended
    assert ended.count("unreachable") == {"agent-1": 1}
    assert "Host key verification failed" in ended.out
