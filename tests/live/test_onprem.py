"""use-cases/onprem-basic as its README says: user `ops` with one sudoers line, port 2222, through a jump host.

The host key of the server stands in the file; those of the agents and of the jump host in a committed known_hosts. The
jump host is called by the name of the use case, which ~/.ssh/config leads to it, and an agent by one that only the jump
host can resolve.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import lab_bed
from lab_bed import REPOSITORY, Bed, Machine, Release
from live.fingerprint import differences, fingerprint
from live.onprem_bed import ONE_LINE
from pk3s_bed import Done, Site
from productive_k3s_infra.hosts.wire.refusals import sudoers_line
from productive_k3s_infra.providers.local.machines import MachineRequest

NAMES = ("server-1", "agent-1", "agent-2")
Runs = Mapping[str, tuple[str, str, str]]
USE_CASE = REPOSITORY / "use-cases" / "onprem-basic"
PORT = 2222
BEHIND = "agent-1.internal"


@dataclass(frozen=True)
class OwnSite(Site):
    """A folder whose environment has what the README exports."""

    exports: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        self.environment.update(self.exports)


@dataclass(frozen=True)
class Life:
    """How each run of pk3s ended, in this order, and what was seen of the hosts between them.

    `touched` is what differs on a host: after the plan, and after destroy. `sudo` is what its log says by host.
    """

    nodes: tuple[Machine, ...]
    planned: Done
    touched_by_plan: Mapping[str, list[str]]
    applied: Done
    ready: Mapping[str, str]
    runs: Runs
    again: Done
    runs_again: Runs
    checkout: Done
    unknown: Done
    sudo: Mapping[str, str]
    refused: Done
    destroyed: Done
    touched_by_all: Mapping[str, list[str]]
    left_here: frozenset[str]
    replanned: Done
    nothing: Done


def fill_in(site: Site, gate: Machine, server: Machine, *agents: Machine) -> None:
    """Do what the README tells: the jump host and one host key in the file, the other keys beside it."""
    text = site.file.read_text()
    jump = "# jump: ops@bastion.example:22 "
    entry, agent = 'address: "${ONPREM_SERVER}"', 'address: "${ONPREM_AGENT_1}"'
    assert text.count(jump) == text.count(entry) == text.count(agent) == 1
    text = text.replace(jump, jump.removeprefix("# "))
    text = text.replace(entry, f'{entry}, hostKey: "{server.host_key}"')
    site.file.write_text(text.replace(agent, f"{agent}, ssh: {{address: {BEHIND}}}"))
    site.ssh_config.write_text(f"Host bastion.example\n  HostName {gate.address}\n")
    names = (BEHIND, *(one.address for one in agents[1:]))
    lines = [f"[{name}]:{PORT} {one.host_key}\n" for name, one in zip(names, agents, strict=True)]
    (site.path / "known_hosts").write_text("".join([f"bastion.example {gate.host_key}\n", *lines]))


def check_out(site: OwnSite, path: Path, *names: str) -> OwnSite:
    """Return a folder with what the team commits."""
    path.mkdir()
    for name in names:
        shutil.copy2(site.path / name, path / name)
    made = OwnSite(path, site.release, site.tool, site.name, site.exports)
    shutil.copy2(site.ssh_config, made.ssh_config)
    return made


@pytest.fixture(scope="module")
def life(module_lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    bed, folder = module_lab, tmp_path_factory.mktemp("onprem")
    requests = [MachineRequest(name, ssh_port=PORT, extra_user="ops", sudoers=ONE_LINE) for name in NAMES]
    gate, *nodes = bed.create("onprem", MachineRequest("gate", extra_user="ops"), *requests)
    shutil.copytree(USE_CASE, folder / "my-cluster")
    exports = {
        "ONPREM_SERVER": nodes[0].address,
        "ONPREM_AGENT_1": nodes[1].address,
        "ONPREM_AGENT_2": nodes[2].address,
        "ONPREM_SSH_PORT": str(PORT),
        "ONPREM_SSH_KEY": str(bed.key),
    }
    site = OwnSite(folder / "my-cluster", k3s_release, kubectl_tool, "onprem", tuple(exports.items()))
    fill_in(site, gate, *nodes)
    bed.ssh(gate, f"echo '{nodes[1].address} {BEHIND}' >> /etc/hosts")

    def touched() -> dict[str, list[str]]:
        return {one.name: differences(before[one.name], fingerprint(bed, one)) for one in nodes}

    def runs() -> Runs:
        return {one.name: lab_bed.started(bed, one, lab_bed.unit_of(one.name.partition("-")[0])) for one in nodes}

    def plan_anew() -> Done:
        for one in nodes:
            bed.allow_cgroup_v1(one)
        return site.pk3s("plan")

    before = {one.name: fingerprint(bed, one) for one in nodes}
    return Life(
        nodes=tuple(nodes),
        planned=site.pk3s("plan"),
        touched_by_plan=touched(),
        applied=site.expect(0, "apply", "--yes"),
        ready={node["metadata"]["name"]: lab_bed.conditions(node)["Ready"] for node in site.get("nodes")},
        runs=runs(),
        again=site.pk3s("apply", "--yes", "-o", "json"),
        runs_again=runs(),
        checkout=check_out(site, folder / "fresh", "cluster.yaml", "cluster.lock", "known_hosts").pk3s(
            "plan", "--exit-code"
        ),
        unknown=check_out(site, folder / "bare", "cluster.yaml", "cluster.lock").pk3s("plan"),
        sudo={one.name: bed.ssh(one, "journalctl --no-pager -o cat _COMM=sudo") for one in nodes},
        refused=site.pk3s("destroy"),
        destroyed=site.pk3s("destroy", "--yes"),
        touched_by_all=touched(),
        left_here=frozenset(path.name for path in site.path.iterdir()),
        replanned=plan_anew(),
        nothing=site.pk3s("destroy", "--yes"),
    )


def test_planning_writes_nothing(life: Life) -> None:
    assert life.planned.code == 0, life.planned
    assert "6 steps for " in life.planned.out
    assert [name for name in NAMES if life.touched_by_plan[name]] == [], life.touched_by_plan


def test_the_use_case_makes_three_ready_nodes(life: Life) -> None:
    assert "onprem: valid (full" in life.applied.out
    assert life.ready == dict.fromkeys(NAMES, "True")


def test_a_second_apply_changes_nothing(life: Life) -> None:
    assert life.again.code == 0, life.again
    assert life.again.document["results"] == []
    assert life.again.document["report"]["scope"] == "quick"
    assert life.runs_again == life.runs


def test_a_fresh_checkout_plans_nothing(life: Life) -> None:
    """cluster.yaml, cluster.lock and known_hosts are all that makes it so: without known_hosts nobody vouches."""
    assert life.checkout.code == 0, life.checkout
    assert "Nothing to change." in life.checkout.out
    assert life.unknown.code == 4, life.unknown
    assert "ssh.host-key-unknown" in life.unknown.out


def test_one_sudoers_line_was_enough(life: Life) -> None:
    """The README prints it, and the log of sudo shows nothing else."""
    assert sudoers_line("ops") in (USE_CASE / "README.md").read_text()
    for name, said in life.sudo.items():
        commands = {line.partition("COMMAND=")[2] for line in said.splitlines() if "COMMAND=" in line}
        assert commands == {"/usr/bin/python3 -I -c exec(eval(input()))"}, name
        assert "command not allowed" not in said


def test_destroy_leaves_the_hosts_as_they_were(life: Life) -> None:
    assert life.refused.code == 4, life.refused
    assert "nothing was destroyed" in life.refused.err
    assert life.destroyed.code == 0, life.destroyed
    assert "Destroyed: agent-1, agent-2, server-1." in life.destroyed.out
    for name in NAMES:
        assert life.touched_by_all[name] == []
    assert "known_hosts" in life.left_here
    assert "cluster.lock" not in life.left_here
    assert life.nothing.code == 0, life.nothing
    # The next cluster can be made there: its plan is that of hosts that never had one.
    assert life.replanned.code == 0, life.replanned
    assert life.replanned.out == life.planned.out
