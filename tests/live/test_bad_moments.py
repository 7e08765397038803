"""What goes wrong in the middle, through pk3s on one server: said once with its remedy, and mended by the next apply.

The server is made by an apply that a full disk, a cut upload and a cut connection end early, one after the other, each
on what the one before it left. The other tests share it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import lab_bed
from lab_bed import Bed, Machine, Release
from live.fingerprint import differences, fingerprint
from live.onprem_bed import ONE_LINE, Onprem, found, make_onprem
from pk3s_bed import Done, Site
from productive_k3s_infra.providers.local.machines import MachineRequest

KEPT = "/usr/local/lib/productive-k3s"
UNIT = "/etc/systemd/system/k3s.service"
CUT = "pkill -KILL -u ops sshd"
# On the machine, as pk3s cannot be slowed down: cut the connection as soon as the upload has begun.
CUT_UPLOAD = f"timeout 60 sh -c 'until ls {KEPT}/artifacts/*/k3s.partial; do :; done' > /dev/null 2>&1 && {CUT}"


@dataclass(frozen=True)
class Story:
    """How each apply ended, and which run of K3s there was after the cut in its start and after the last apply."""

    onprem: Onprem
    server: Machine
    stranger: Machine
    full: Done
    cut_upload: Done
    left_by_upload: str
    cut_start: Done
    started: tuple[str, str, str]
    good: Done
    kept: tuple[str, str, str]

    @property
    def bed(self) -> Bed:
        return self.onprem.bed

    def on_server(self, command: str) -> str:
        return self.bed.ssh(self.server, command)

    def write(self, *more: dict[str, object], **k3s: object) -> Site:
        """Write the cluster file with this server in it."""
        return self.onprem.write(self.onprem.node("server-1", self.server), *more, **k3s)


@pytest.fixture(scope="module")
def story(module_lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    onprem = make_onprem(tmp_path_factory.mktemp("moments") / "site", module_lab, k3s_release, kubectl_tool)
    good = MachineRequest("server-1", extra_user="ops", sudoers=ONE_LINE)
    server, stranger = module_lab.create("moments", good, MachineRequest("agent-1", extra_user="ops", sudoers=ONE_LINE))
    site = onprem.write(onprem.node("server-1", server))

    module_lab.ssh(server, f"mkdir {KEPT} && mount -t tmpfs -o size=4m,mode=755 small {KEPT}")
    full = site.pk3s("apply", "--yes")
    module_lab.ssh(server, f"umount {KEPT}")

    words = (*module_lab.ssh_words(server), CUT_UPLOAD)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as cutter:
        cut_upload = site.pk3s("apply", "--yes")
        assert cutter.wait() == 0, "the upload was over before anybody saw it"
    until_it_ended(module_lab, server)
    left = module_lab.ssh(
        server, f"ls -d /usr/local/bin/k3s /etc/rancher /etc/systemd/system/k3s* {KEPT}/artifacts/*/* || true"
    )

    running = site.begin("apply", "--yes")
    running.until(r"start k3s ")
    module_lab.ssh(server, CUT)
    cut_start = running.end()
    until_it_ended(module_lab, server)
    started = lab_bed.started(module_lab, server, "k3s")
    good = site.pk3s("apply", "--yes")
    kept = lab_bed.started(module_lab, server, "k3s")
    return Story(onprem, server, stranger, full, cut_upload, left, cut_start, started, good, kept)


def until_it_ended(bed: Bed, machine: Machine) -> None:
    """Wait until no host program runs there any more; its pattern must not find the one that asks."""
    ask = "pgrep -f 'exec[(]eval' || true"
    lab_bed.until(lambda: bed.ssh(machine, ask) == "", 30, "the host program has ended")


def test_a_full_disk_is_named(story: Story) -> None:
    assert story.full.code == 5, story.full
    shown = found(story.full, "server-1/stage-artifacts", "host.disk-full")
    assert KEPT in shown.seen
    assert "free some space" in shown.remedy
    assert "skipped server-1/apply-server: server-1/stage-artifacts did not succeed" in story.full.out
    assert "journal: " in story.full.out


def test_a_cut_upload_leaves_nothing_of_k3s(story: Story) -> None:
    assert story.cut_upload.code == 5, story.cut_upload
    shown = found(story.cut_upload, "server-1/stage-artifacts", "host.no-result")
    assert "it is not known what it did" in shown.what
    assert "run pk3s again" in shown.remedy
    assert story.left_by_upload == ""


def test_a_connection_cut_in_the_start_is_mended_without_another_start(story: Story) -> None:
    assert story.cut_start.code == 5, story.cut_start
    assert "run pk3s again" in found(story.cut_start, "server-1/apply-server", "host.no-result").remedy
    assert story.good.code == 0, story.good
    assert "onprem: valid (full" in story.good.out
    # The run that the cut apply began; when it became active was not known at the cut.
    assert (story.kept[0], story.kept[2]) == (story.started[0], story.started[2])
    assert "Nothing to change." in story.write().expect(0, "plan", "--exit-code").out


def test_another_version_than_the_running_one_is_refused(story: Story, tmp_path: Path) -> None:
    release = story.onprem.site.release
    other = release.version.replace(".13+", ".14+") if ".13+" in release.version else f"{release.version}0"
    (tmp_path / other).symlink_to(release.directory / release.version)
    before = lab_bed.started(story.bed, story.server, "k3s")
    site = story.write(version=other, artifacts={"source": str(tmp_path)})
    for verb in (("plan",), ("apply", "--yes")):
        shown = found(site.expect(4, *verb), "server-1", "k3s.version-differs")
        assert f"K3s {release.version} is installed, but {other} is requested" in shown.what
        assert "upgrades are not supported yet" in shown.remedy
    assert lab_bed.started(story.bed, story.server, "k3s") == before


def test_flags_on_the_unit_move_with_one_restart(story: Story) -> None:
    site = story.write()
    story.on_server(f"sed -i 's|^ExecStart=.*|& --kube-apiserver-arg=event-ttl=3h|' {UNIT}; systemctl daemon-reload")
    before = lab_bed.started(story.bed, story.server, "k3s")
    planned = site.expect(3, "plan", "--exit-code").out
    assert (
        "! server-1/apply-server: flags on the unit move to config.yaml or are removed: kube-apiserver-arg" in planned
    )
    assert lab_bed.started(story.bed, story.server, "k3s") == before
    site.expect(0, "apply", "--yes")
    assert "event-ttl" not in story.on_server(f"cat {UNIT}")
    assert lab_bed.started(story.bed, story.server, "k3s")[0] != before[0]
    assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out


def test_an_agent_of_another_cluster_is_never_taken_over(story: Story) -> None:
    """It holds another CA and a node's password: refused before anything is changed on it or on the server."""
    bed, stranger = story.bed, story.stranger
    bed.put_all(
        stranger,
        {
            "/etc/systemd/system/k3s-agent.service": ("[Service]\nExecStart=/usr/local/bin/k3s agent\n", 0o644),
            "/var/lib/rancher/k3s/agent/server-ca.crt": ("another cluster's\n", 0o644),
            "/etc/rancher/node/password": ("its password\n", 0o600),
        },
        "systemctl daemon-reload",
    )
    site = story.write(story.onprem.node("agent-1", stranger))
    running = lab_bed.started(bed, story.server, "k3s")
    before = fingerprint(bed, stranger)
    for verb in (("plan",), ("apply", "--yes")):
        shown = found(site.expect(4, *verb), "agent-1", "node.cluster")
        assert "is a member of another cluster" in shown.what
        assert "recorded is" in shown.seen
        assert "uninstall K3s from the host that belongs to another cluster" in shown.remedy
    assert differences(before, fingerprint(bed, stranger)) == []
    assert lab_bed.started(bed, story.server, "k3s") == running
