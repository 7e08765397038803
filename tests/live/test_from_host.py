"""Clusters that are there already become cluster files: one of the install script's kind, one of the host program.

The agent has an older script's unit and a drop-in. Nothing is restarted, by looking, planning or applying.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

import lab_bed
from install_script import install
from lab_bed import CONFIG, Bed, Machine, Release
from live.program_bed import SINGLE_NODE, equip, succeed
from pk3s_bed import Done, Site
from productive_k3s.k3s import paths

PASSWORD = "the-password-that-a-person-chose"
FLAGS = ("--cluster-init", "--tls-san=k3s.example", "--kube-apiserver-arg=v=1", "--node-label=disk=ssd")
OLD_PRE = "ExecStartPre=/bin/sh -xc '! /usr/bin/systemctl is-enabled --quiet nm-cloud-setup.service'"
Runs = Mapping[str, tuple[str, str, str]]


@dataclass(frozen=True)
class Story:
    """What each run of pk3s said, and the runs of K3s before the first and after the last of them."""

    file: dict[str, Any]
    text: str
    asked: str
    known: str
    unattended: Done
    planned: Done
    applied: Done
    exists: Done
    mixed: Done
    alone: Done
    supported: Done
    bundle: Mapping[str, str]
    own: Done
    own_planned: Done
    before: Runs
    after: Runs


def make_theirs(bed: Bed, release: Release, server: Machine, agent: Machine) -> None:
    """A server with flags on its unit; an agent with variables, a drop-in, and a directive more."""
    lab_bed.place(bed, release, server, agent)
    disabled = [f"--disable={name}" for name in lab_bed.NOTHING_PACKAGED]
    install(bed, server, "server", *FLAGS, *disabled, K3S_TOKEN=PASSWORD)
    bed.put(agent, f"{CONFIG}.d/10-pods.yaml", "kubelet-arg: [max-pods=50]\n")
    install(bed, agent, "agent", K3S_TOKEN=PASSWORD, K3S_URL=f"https://{server.address}:6443")
    unit = paths.unit_file("k3s-agent")
    change = f'sed -i "s|^ExecStartPre=-/sbin/modprobe overlay|{OLD_PRE}\\n&|" {unit}'
    bed.ssh(
        agent,
        f"{change} && grep -q nm-cloud {unit} && systemctl daemon-reload && systemctl restart --no-block k3s-agent",
    )
    lab_bed.until(lambda: lab_bed.ready_nodes(bed, server) == {"server-1", "agent-1"}, 90, "two nodes Ready")


def make_ours(bed: Bed, release: Release, machine: Machine) -> None:
    """A node that the host program makes, by hand."""
    equip(bed, release, machine)
    succeed(bed, machine, f"{SINGLE_NODE} --config disable=traefik --label team=blue")


def without_images(release: Release, folder: Path) -> Path:
    """Return a directory of the release without its images: a node without pods needs none."""
    there, here = release.directory / release.version, folder / release.version
    here.mkdir(parents=True)
    (here / "k3s").symlink_to(there / "k3s")
    lines = (there / "sha256sum-amd64.txt").read_text().splitlines(keepends=True)
    (here / "sha256sum-amd64.txt").write_text("".join(line for line in lines if line.endswith("  k3s\n")))
    return folder


def answered(site: Site, *words: str) -> str:
    """Run pk3s with a person who says yes to every host key; return what was shown."""
    with site.on_terminal(*words) as terminal:
        for count in range(1, 3):
            for _ in range(600):
                if terminal.shown.count("[y/N]") >= count:
                    break
                terminal._read(time.monotonic() + 0.1)
            terminal.type("y")
        assert terminal.end() == 0, terminal.shown
    return terminal.shown


def bundle_of(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            member.name.partition("/")[2]: cast("Any", archive.extractfile(member)).read().decode()
            for member in archive.getmembers()
        }


@pytest.fixture(scope="module")
def story(module_lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    bed, folder = module_lab, tmp_path_factory.mktemp("found")
    server, agent, other = bed.create("found", "server-1", "agent-1", "server-2")
    with ThreadPoolExecutor() as pool:
        made = [
            pool.submit(make_theirs, bed, k3s_release, server, agent),
            pool.submit(make_ours, bed, k3s_release, other),
        ]
        for future in made:
            future.result()
    bed.ssh(server, f"printf 'MESSAGE=decoy {PASSWORD} line\\nOBJECT_SYSTEMD_UNIT=k3s.service\\n' | logger --journald")

    def site(name: str) -> Site:
        (folder / name).mkdir()
        return Site(folder / name, k3s_release, kubectl_tool, name)

    def runs() -> Runs:
        units = ((server, "k3s"), (agent, "k3s-agent"), (other, "k3s"))
        return {machine.name: lab_bed.started(bed, machine, unit) for machine, unit in units}

    key = ("--key", str(bed.key))
    reach = (*key, "--artifacts", str(k3s_release.directory))
    bare = (*key, "--artifacts", str(without_images(k3s_release, folder / "bare")))
    hosts = ("--from-host", server.address, "--from-host", "worker")
    theirs, ours = site("theirs"), site("ours")
    # A name that only this person's ~/.ssh/config knows.
    assert theirs.environment["HOME"] == str(theirs.ssh_config.parents[1])
    theirs.ssh_config.write_text(f"Host worker\n  HostName {agent.address}\n  User root\n")
    before = runs()
    unattended = theirs.pk3s("init", *hosts, *reach)
    asked = answered(theirs, "init", "--name", "theirs", *hosts, *reach)
    lines = [f"{machine.address} {machine.host_key}\n" for machine in (server, agent, other)]
    (ours.path / "known_hosts").write_text("".join(lines))
    return Story(
        text=theirs.file.read_text(),
        file=yaml.safe_load(theirs.file.read_text()),
        asked=asked,
        known=(theirs.path / "known_hosts").read_text(),
        unattended=unattended,
        planned=theirs.pk3s("plan", "--exit-code"),
        applied=theirs.pk3s("apply", "--yes", "-o", "json"),
        exists=theirs.pk3s("init", *hosts, *reach),
        mixed=ours.pk3s("init", "--from-host", server.address, "--from-host", other.address, *reach),
        alone=ours.pk3s("init", "--from-host", agent.address, *reach),
        supported=theirs.pk3s("support", "--out", "bundle.tar.gz"),
        bundle=bundle_of(theirs.path / "bundle.tar.gz"),
        own=ours.pk3s("init", "--name", "ours", "--from-host", other.address, *bare),
        own_planned=ours.pk3s("plan", "--exit-code", "-o", "json"),
        before=before,
        after=runs(),
    )


def test_host_keys_are_shown_and_asked_and_refused_when_nobody_is_there(story: Story) -> None:
    assert story.unattended.code == 5, story.unattended
    assert "[ssh.host-key-unknown]" in story.unattended.err
    assert story.asked.count("[y/N]") == 2
    names = [line.split()[0].split(",") for line in story.known.splitlines()]
    assert [len(several) for several in sorted(names, key=len)] == [1, 2]
    assert max(names, key=len)[0] == "worker"


def test_the_file_says_what_runs(story: Story, k3s_release: Release) -> None:
    spec = story.file["spec"]
    assert spec["k3s"]["version"] == k3s_release.version
    assert spec["k3s"]["datastore"] == "etcd"
    assert spec["k3s"]["tlsSan"] == ["k3s.example"]
    assert spec["k3s"]["server"] == {"disable": sorted(lab_bed.NOTHING_PACKAGED), "kube-apiserver-arg": ["v=1"]}
    assert spec["k3s"]["agent"] == {"kubelet-arg": ["max-pods=50"]}
    names = [(node["name"], node["role"], node.get("labels")) for node in spec["nodes"]]
    assert names == [("server-1", "server", {"disk": "ssd"}), ("agent-1", "agent", None)]
    assert spec["nodes"][1]["ssh"] == {"address": "worker"}
    assert PASSWORD not in story.text


def test_the_first_plan_changes_nothing_and_says_what_would_move(story: Story) -> None:
    for said in (story.asked, story.planned.out):
        assert "2 steps for " in said
        assert "cosmetic: with the next change that restarts K3s, cluster-init, disable" in said
        assert f"cosmetic: {CONFIG}.d/10-pods.yaml already sets kubelet-arg as requested" in said
        assert "now it differs in ExecStartPre" in said
    assert story.planned.code == 3
    assert story.applied.code == 0, story.applied
    # They get the cluster's mark, through the API, and nothing else.
    assert story.applied.steps == {"server-1/apply-server": ["label:server-1"], "agent-1/label-node": []}
    assert story.applied.document["report"]["passed"]


def test_nothing_was_started_again(story: Story) -> None:
    assert story.after == story.before


def test_what_is_no_cluster_of_a_file_is_refused(story: Story) -> None:
    wanted = ((story.exists, "init.exists"), (story.mixed, "init.two-clusters"), (story.alone, "init.no-server"))
    for done, code in wanted:
        assert done.code == 2, done
        assert f"[{code}]" in done.err
        assert "next: " in done.err


def test_a_node_of_the_host_program_gives_a_file_that_plans_the_mark_alone(story: Story) -> None:
    """Its configuration is ours, so the mark goes there too; nothing starts anew for it."""
    assert story.own.code == 0, story.own
    assert story.own_planned.code == 3, story.own_planned
    (step,) = story.own_planned.document["plan"]["steps"]
    assert (step["id"], step["impact"]) == ("server-2/apply-server", "change")
    assert {change["id"]: change["reason"] for change in step["changes"]} == {
        "label:server-2": "labels differ: productive-k3s.io/cluster=ours",
        f"write:{CONFIG}": "differs in node-label",
    }
    assert "cosmetic" not in story.own_planned.out


def test_a_support_bundle_has_the_logs_and_no_secret(story: Story) -> None:
    assert story.supported.code == 0, story.supported
    logs = story.bundle["hosts/server-1/k3s.log"]
    assert "decoy [redacted] line" in logs
    assert "hosts/agent-1/k3s-agent.log" in story.bundle
    assert {name for name, text in story.bundle.items() if PASSWORD in text or "K10" in text} == set()
