"""What goes wrong on a host: one failure with its code, exit code, evidence and remedy, and nothing half-done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab_bed import CONFIG, KUBELET_DROP_IN, Bed, Machine, MachineRequest, Release
from live.fingerprint import differences, fingerprint
from live.program_bed import (
    LOCK,
    PROGRAM,
    RELEASE,
    SINGLE_NODE,
    equip,
    plan,
    put_program,
    read_wire,
    run,
    run_until,
    succeed,
)

SQUAT = "systemd-run --quiet --unit=squatter python3 -m http.server 6443"
LISTENS = "for i in $(seq 100); do ss -Hltn | grep -q :6443 && exit; sleep 0.1; done; exit 1"
LEAVE = "systemctl stop squatter; systemctl reset-failed squatter 2>/dev/null || true"
DROP_IN = f"{CONFIG}.d/50-theirs.yaml"
DEAD = f"agent --artifacts {RELEASE} --server https://127.0.0.1:6443"


@pytest.fixture(scope="module")
def bare(module_lab: Bed, k3s_release: Release) -> Machine:
    """A machine with the program and a release; every test here leaves it as it was."""
    (machine,) = module_lab.create("failures", "bare")
    equip(module_lab, k3s_release, machine)
    return machine


@contextmanager
def untouched(bed: Bed, machine: Machine) -> Iterator[None]:
    """What happens inside leaves the machine as it was."""
    before = fingerprint(bed, machine)
    yield
    assert differences(before, fingerprint(bed, machine)) == []


def test_a_wrong_checksum(module_lab: Bed, bare: Machine, k3s_release: Release) -> None:
    folder = f"/root/given/wrong/{k3s_release.version}"
    module_lab.put(bare, f"{folder}/sha256sum-amd64.txt", f"{'0' * 64}  k3s\n")
    module_lab.ssh(bare, f"ln -sf {RELEASE}/{k3s_release.version}/k3s {folder}/k3s")
    with untouched(module_lab, bare):
        done = run(module_lab, bare, "single-node --artifacts /root/given/wrong")
    assert (done.exit_code, done.outcome, done.failure["code"]) == (5, "failed", "artifact.checksum")
    assert done.of("change-started") == ["binary"], "it stopped there"


def test_an_upload_that_is_cut(module_lab: Bed, bare: Machine) -> None:
    whole = bytes(range(256)) * 8000
    digest = hashlib.sha256(whole).hexdigest()
    words = f"stage --sha256 {digest} --to k3s"
    with untouched(module_lab, bare):
        done = run(module_lab, bare, words, data=whole[:1_000_000])
        assert (done.exit_code, done.failure["code"]) == (5, "artifact.checksum")
        assert "1000000 bytes arrived" in done.failure["evidence"]
    with untouched(module_lab, bare):
        assert succeed(module_lab, bare, words, data=whole).outcome == "done"
        assert succeed(module_lab, bare, words, data=whole).outcome == "unchanged"
        staged = succeed(module_lab, bare, "facts").result["facts"]["k3s"]["staged"]
        assert [item["sha256"] for item in staged] == [digest]
        succeed(module_lab, bare, "uninstall")
    module_lab.allow_cgroup_v1(bare)


def test_a_port_that_is_taken(module_lab: Bed, bare: Machine) -> None:
    module_lab.ssh(bare, f"{SQUAT}; {LISTENS}")
    try:
        with untouched(module_lab, bare):
            done = run(module_lab, bare, SINGLE_NODE)
    finally:
        module_lab.ssh(bare, LEAVE)
    assert (done.exit_code, done.outcome, done.failure["code"]) == (4, "refused", "k3s.port-in-use")
    assert done.failure["evidence"] == "python3 listens on 0.0.0.0:6443"


def test_a_drop_in_that_overrides(module_lab: Bed, bare: Machine) -> None:
    module_lab.put(bare, DROP_IN, "flannel-backend: none\n")
    try:
        with untouched(module_lab, bare):
            done = run(module_lab, bare, f"{SINGLE_NODE} --config flannel-backend=host-gw")
    finally:
        module_lab.ssh(bare, "rm -r /etc/rancher")
    assert (done.exit_code, done.outcome, done.failure["code"]) == (4, "refused", "config.overridden")
    assert DROP_IN in done.failure["what"]


def test_a_file_of_somebody_else_is_shown_before_it_is_replaced(module_lab: Bed, bare: Machine) -> None:
    module_lab.put(bare, CONFIG, "# ours since 2019\nwrite-kubeconfig-mode: '0644'\ntoken: not-for-all-eyes\n")
    try:
        with untouched(module_lab, bare):
            done = succeed(module_lab, bare, f"{SINGLE_NODE} --plan")
    finally:
        module_lab.ssh(bare, "rm -r /etc/rancher")
    (change,) = [item for item in done.result["changes"] if item["id"] == f"write:{CONFIG}"]
    assert change["reason"].startswith("not written by productive-k3s; differs in ")
    assert {"-# ours since 2019", "-write-kubeconfig-mode: '0644'"} <= set(change["diff"])
    assert "not-for-all-eyes" not in done.text, "their token is not shown"


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        ("single-node --artifacts /nowhere", 2, "artifact.missing"),
        (f"{SINGLE_NODE} --config no-such-flag=1", 2, "request.unknown-flag"),
        (f"{SINGLE_NODE} --node-ip 10.0.0.300", 2, "request.node-ip"),
        (f"{SINGLE_NODE} --node-ip 192.0.2.1", 4, "host.address-missing"),
        (f"agent --artifacts {RELEASE}", 4, "request.no-server"),
        (DEAD, 4, "k3s.no-token"),
        (f"{DEAD} --token-file /root/given/short", 4, "k3s.token-not-secure"),
        (f"{DEAD} --token-file /root/given/good", 4, "k3s.unreachable-server"),
        ("token", 4, "k3s.no-server"),
        ("validate --scope cluster", 2, "request.scope"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    module_lab: Bed, bare: Machine, words: str, exit_code: int, code: str
) -> None:
    module_lab.put(bare, "/root/given/short", "just-a-password")
    module_lab.put(bare, "/root/given/good", f"K10{'a' * 64}::node:{'b' * 32}")
    done = run(module_lab, bare, words)
    assert (done.exit_code, done.result["failures"][0]["code"]) == (exit_code, code)
    assert done.result["failures"][0]["remedy"]
    assert done.errors == "", "nothing but the wire"
    look = f"find /usr/local/bin /var/lib/rancher -type f ! -name {KUBELET_DROP_IN}; ! test -e /etc/rancher"
    assert module_lab.ssh(bare, look) == ""


def test_without_root(module_lab: Bed, bare: Machine) -> None:
    """A user who is not root is told so by what needs root, in the same words."""
    module_lab.ssh(bare, f"install -m 755 {PROGRAM} /tmp/program.pyz; mkdir -m 700 -p {LOCK.rpartition('/')[0]}")
    user = "setpriv --reuid=nobody --regid=nogroup --clear-groups python3 /tmp/program.pyz"
    for words in ("uninstall --yes", f"stage --sha256 {'0' * 64} --to k3s"):
        done = read_wire(module_lab.try_ssh(bare, f"{user} {words} --json"))
        assert (done.exit_code, done.outcome, done.failure["code"]) == (4, "refused", "host.not-root"), words
    module_lab.ssh(bare, "rm /tmp/program.pyz")


def test_a_disk_that_is_too_small(module_lab: Bed, k3s_release: Release) -> None:
    """The release fits, its copy does not; nothing of the copy stays, and with room the next run goes on."""
    megabytes = (k3s_release.binary.stat().st_size >> 20) + 40
    (machine,) = module_lab.create("failures", MachineRequest("small", disk_bytes=megabytes << 20))
    equip(module_lab, k3s_release, machine)
    wanted = plan(module_lab, machine)
    with untouched(module_lab, machine):
        done = run(module_lab, machine, SINGLE_NODE)
    assert (done.exit_code, done.outcome, done.failure["code"]) == (5, "failed", "host.disk-full")
    assert plan(module_lab, machine) == wanted
    module_lab.ssh(machine, f"cp -r {RELEASE} /run/release && rm -r {RELEASE} && ln -s /run/release {RELEASE}")
    again = run_until(module_lab, machine, SINGLE_NODE, what="change-started", count=1, signal="SIGTERM")
    assert again.changes == ["binary"], "it goes on where there was no room, until it is stopped"


def test_a_read_only_machine(module_lab: Bed) -> None:
    (machine,) = module_lab.create("failures", MachineRequest("stone", read_only=True))
    put_program(module_lab, machine, "/run/program.pyz")
    request = {"mode": "single-node", "version": "v1.34.4+k3s1", "binary": {"name": "k3s", "sha256": "0" * 64}}
    words = "python3 /run/program.pyz single-node --request - --json"
    done = read_wire(module_lab.try_ssh(machine, words, data=json.dumps(request).encode()))
    assert (done.exit_code, done.outcome) == (4, "refused")
    assert set(done.codes) == {"host.read-only"}
    assert any("/usr/local/bin" in failure["what"] for failure in done.result["failures"])
