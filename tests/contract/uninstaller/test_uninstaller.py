"""One uninstaller: what a person runs and what the program does take the same, and leave the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.contract, pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")]

_ROOT = Path(__file__).resolve().parents[3]
_NAMESPACES = ("unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc")
# What upstream's script of that name leaves too (docs/known-differences.md), and the program takes.
LEFT_BY_THE_SCRIPT = (
    "/etc/rancher/node",
    "/run/containerd",
    "/run/nri",
    "/var/log/pods",
)
WAYS = ("script", "program")


@cache
def taken(way: str, case: str) -> dict[str, Any]:
    """Lay a K3s in a sandbox, take it off, and return what was seen."""
    words = (*_NAMESPACES, sys.executable, "-m", "contract.uninstaller.sandbox", way, case)
    environment = {**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT / 'tests'}"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["failures"] == []
    return found


@pytest.mark.parametrize("case", ["plain", "behind-links", "links-inside"])
def test_both_leave_the_same(case: str) -> None:
    by_script, by_program = (set(taken(way, case)["left"]) for way in WAYS)
    assert by_program <= by_script
    assert {item for item in by_script - by_program if not item.startswith(LEFT_BY_THE_SCRIPT)} <= {"/var/lib/rancher/"}
    assert [item for item in by_program if item.startswith(LEFT_BY_THE_SCRIPT)] == []


@pytest.mark.parametrize("way", WAYS)
class TestEffects:
    def test_all_of_k3s_goes_and_what_is_somebody_elses_stays(self, way: str) -> None:
        there = {item for item in taken(way, "plain")["left"] if not item.startswith(LEFT_BY_THE_SCRIPT)}
        mounted = "/var/lib/rancher/k3s/storage/on another disk/"
        parents = {"/var/lib/rancher/", "/var/lib/rancher/k3s/", "/var/lib/rancher/k3s/storage/"}
        theirs = {"/var/lib/other/", "/var/lib/other/kept", "/usr/local/bin/kept", "/usr/local/bin/ctr"}
        assert there == {"/etc/systemd/system/", *theirs, *parents, mounted, f"{mounted}file"}

    def test_what_is_mounted_in_the_data_directory_keeps_what_is_in_it(self, way: str) -> None:
        """Also where its name has a blank, which the kernel writes in another way."""
        for case, folder in (("plain", "/var/lib/rancher/k3s"), ("behind-links", "/srv/disk/k3s")):
            found = taken(way, case)
            assert f"{folder}/storage/on another disk/file" in found["left"]
            assert found["mounted"] == [f"{folder}/storage/on\\040another\\040disk"]

    def test_behind_a_link_the_datastore_goes_and_the_link_stays(self, way: str) -> None:
        found = taken(way, "behind-links")
        assert {"/var/lib/rancher/k3s", "/var/lib/kubelet", "/srv/disk/k3s/", "/srv/disk/kubelet/"} <= set(
            found["left"]
        )
        assert [
            item for item in found["left"] if "server" in item or "token" in item or "/pods/1/volumes" in item
        ] == []
        assert any("server/db/etcd" in item for item in found["before"])

    def test_folders_of_k3s_on_another_disk_are_emptied_and_no_other_link_is_followed(self, way: str) -> None:
        found = taken(way, "links-inside")
        assert any(item.endswith("/snapshots/1/fs/etc/theirs") for item in found["before"])
        assert [item for item in found["left"] if item.startswith("/srv/disk/") and item != "/srv/disk/"] == [
            *("/srv/disk/agent/", "/srv/disk/agent/containerd/", "/srv/disk/data/", "/srv/disk/server/"),
            *("/srv/disk/storage/", "/srv/disk/storage/on another disk/", "/srv/disk/storage/on another disk/file"),
            *("/srv/disk/storage/pvc-1/", "/srv/disk/storage/pvc-1/data"),
        ]
        assert "/var/lib/other/kept" in found["left"]
        assert "/var/lib/rancher/k3s/" not in found["left"]

    def test_containers_end_and_others_live(self, way: str) -> None:
        found = taken(way, "plain")
        assert (found["alive"], found["descendants"]) == (["other"], 0)

    def test_only_rules_of_kubernetes_go_by_the_iptables_that_k3s_brings(self, way: str) -> None:
        assert taken(way, "plain")["rules"] == "*filter\n-A INPUT -j DROP\nCOMMIT\n"

    def test_only_routes_through_other_nodes_to_pods_go(self, way: str) -> None:
        told = [line for line in taken(way, "plain")["told"] if line.startswith("ip ")]
        assert told == ["ip -4 route delete 10.42.1.0/24 via 10.0.0.12"]

    def test_the_service_is_stopped_before_and_disabled(self, way: str) -> None:
        told = [line for line in taken(way, "plain")["told"] if line.startswith("systemctl")]
        assert told[0].startswith("systemctl stop")
        assert "systemctl disable k3s" in told
        assert "systemctl daemon-reload" in told[told.index("systemctl disable k3s") :]

    def test_what_two_services_share_stays(self, way: str) -> None:
        found = set(taken(way, "another-service")["left"])
        shared = {
            "/usr/local/bin/k3s",
            "/etc/rancher/k3s/config.yaml",
            "/etc/rancher/node/password",
            "/var/lib/rancher/k3s/server/db/etcd/member/wal",
            "/etc/systemd/system/k3s-other.service",
        }
        assert shared <= found
        assert not {"/etc/systemd/system/k3s.service", "/usr/local/bin/k3s-uninstall.sh"} & found
