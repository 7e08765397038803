"""K3s is there already, from the install script: what is equal is left alone, what differs moves once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lab_bed import CONFIG, Bed, Machine, Release, place, ready_nodes, start, started, until
from live.program_bed import RELEASE, SINGLE_NODE, ca_hash, equip, node_uid, run, succeed

UNIT = "/etc/systemd/system/k3s.service"
FLAGS = ("--cluster-init", "--tls-san", "theirs.example", "--disable", "traefik")
SAME = f"{SINGLE_NODE} --tls-san theirs.example --config disable=traefik"
# What install.sh writes, in its form (k3s-io/k3s): each argument on a line of its own, an empty line at the end.
THEIR_UNIT = """\
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/k3s.service.env
KillMode=process
Delegate=yes
User=root
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s \\
    server \\
"""


@pytest.fixture
def theirs(lab: Bed, k3s_release: Release) -> Machine:
    """A node that the install script made: flags on the unit, an environment file, no config.yaml."""
    (machine,) = lab.create("adopt", "theirs")
    equip(lab, k3s_release, machine)
    place(lab, k3s_release, machine)
    words = "".join(f"\t'{word}' \\\n" for word in FLAGS)
    lab.put(machine, UNIT, f"{THEIR_UNIT}{words}\n", mode="644")
    lab.put(machine, f"{UNIT}.env", "")
    for name in ("k3s-killall.sh", "k3s-uninstall.sh"):
        lab.put(machine, f"/usr/local/bin/{name}", "#!/bin/sh\n# theirs\n", mode="755")
    lab.ssh(machine, "systemctl daemon-reload; systemctl enable --quiet k3s")
    start(lab, machine, "server")
    until(lambda: ready_nodes(lab, machine) == {machine.name}, 60, "their node Ready")
    return machine


@dataclass(frozen=True)
class Identity:
    """What must not change: the cluster and the node."""

    ca: str
    node: str


def identity(bed: Bed, machine: Machine) -> Identity:
    """Return which cluster and node this is; both are there."""
    found = Identity(ca_hash(bed, machine), node_uid(bed, machine))
    assert all((found.ca, found.node)), found
    return found


def test_equal_settings_change_nothing_and_others_move_once(lab: Bed, theirs: Machine, k3s_release: Release) -> None:
    first = succeed(lab, theirs, SAME)
    assert (first.outcome, first.changes) == ("unchanged", [])
    assert "K3s was not set up by productive-k3s" in " ".join(first.result["notes"])
    before, who = started(lab, theirs, "k3s"), identity(lab, theirs)

    other = f"v0.0.1+{k3s_release.version.partition('+')[2]}"
    lab.ssh(theirs, f"ln -s {k3s_release.version} {RELEASE}/{other}")
    refused = run(lab, theirs, f"{SAME} --version {other}")
    assert (refused.exit_code, refused.outcome, refused.failure["code"]) == (4, "refused", "k3s.version-differs")
    assert k3s_release.version in refused.failure["remedy"]
    lab.ssh(theirs, f"rm {RELEASE}/{other}")

    words = f"{SINGLE_NODE} --tls-san ours.example --config disable=traefik"
    planned = succeed(lab, theirs, f"{words} --plan")
    reasons = {change["id"]: change["reason"] for change in planned.result["changes"]}
    assert reasons[f"write:{UNIT}"].startswith("flags on the unit move to config.yaml or are removed: ")
    assert "tls-san" in reasons[f"write:{UNIT}"]
    assert started(lab, theirs, "k3s") == before, "so far nothing was started again"

    done = succeed(lab, theirs, words)
    assert [change for change in done.changes if change.startswith(("start", "restart"))] == ["restart:k3s"]
    assert identity(lab, theirs) == who
    assert "ours.example" in lab.ssh(theirs, f"cat {CONFIG}")
    assert "theirs.example" not in lab.ssh(theirs, f"cat {UNIT}")
    assert lab.ssh(theirs, "cat /usr/local/bin/k3s-killall.sh").endswith("# theirs"), "their scripts do the same"
    assert succeed(lab, theirs, words).outcome == "unchanged"
