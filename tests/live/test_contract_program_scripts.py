"""Our own k3s-killall.sh and k3s-uninstall.sh do what upstream's do: no more, and no less."""

from __future__ import annotations

from lab_bed import CONFIG, Bed, Machine, Release, start, state
from live.fingerprint import LEFT_BY_UPSTREAM, differences, fingerprint
from live.program_bed import SINGLE_NODE, ca_hash, equip, node_uid, plan, succeed

# By kind: what goes when K3s is stopped, and what stays until it is uninstalled.
RUNS = ("process ", "mount ", "interface ", "rules ", "route ")
KEPT = ("/usr/local/bin/k3s", CONFIG, "/var/lib/rancher/k3s/server/db", "/var/lib/rancher/k3s/agent/images")


def test_killall_ends_everything_and_keeps_the_cluster_and_uninstall_takes_it(lab: Bed, k3s_release: Release) -> None:
    (machine,) = lab.create("scripts", "server")
    equip(lab, k3s_release, machine, images=True)
    before = fingerprint(lab, machine)
    lab.put(machine, CONFIG, "# ours since 2019\nwrite-kubeconfig-mode: '0644'\n")
    done = succeed(lab, machine, SINGLE_NODE)
    assert f"write:{CONFIG}" in done.changes
    assert "2019" not in lab.ssh(machine, f"cat {CONFIG}"), "somebody else's file was replaced, as the plan showed"
    succeed(lab, machine, "validate --scope cluster")
    identity = (ca_hash(lab, machine), node_uid(lab, machine))
    up = differences(before, fingerprint(lab, machine))
    for kind in RUNS[:4]:
        assert any(item.startswith(kind) for item in up), f"K3s runs: {kind}"

    lab.ssh(machine, "/usr/local/bin/k3s-killall.sh")
    down = differences(before, fingerprint(lab, machine))
    assert [item for item in down if item.startswith(RUNS)] == []
    assert (state(lab, machine, "k3s"), lab.ssh(machine, "systemctl is-enabled k3s")) == ("inactive", "enabled")
    lab.ssh(machine, "".join(f"test -e {path} && " for path in KEPT) + "! test -e /var/lib/cni")
    assert plan(lab, machine) == ["start:k3s", "wait:k3s"]

    start(lab, machine, "server")
    succeed(lab, machine, "validate --scope cluster")
    assert (ca_hash(lab, machine), node_uid(lab, machine)) == identity, "the same cluster, the same node"

    _uninstall(lab, machine)
    assert differences(before, fingerprint(lab, machine), LEFT_BY_UPSTREAM) == []
    facts = succeed(lab, machine, "facts").result["facts"]["k3s"]
    assert (facts["role"], facts["binary"], facts["scripts"]) == (None, None, [])
    assert lab.ssh(machine, "cat /etc/rancher/node/password"), "upstream's leaves it, and so does ours"
    succeed(lab, machine, "uninstall")
    assert differences(before, fingerprint(lab, machine)) == []


def _uninstall(bed: Bed, machine: Machine) -> None:
    bed.ssh(machine, "/usr/local/bin/k3s-uninstall.sh")
    gone = bed.ssh(machine, "ls /usr/local/bin /etc/systemd/system | grep -E 'k3s|kubectl|crictl|ctr' || true")
    assert gone == ""
