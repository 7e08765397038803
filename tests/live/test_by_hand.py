"""A cluster made by hand with the host program, then a cluster file written for it: pk3s takes it as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import lab_bed
from lab_bed import Bed, Machine, Release
from pk3s_bed import Site
from productive_k3s_infra.artifacts.program import build_program

pytestmark = pytest.mark.live

PROGRAM = "/root/productive-k3s.pyz"
RELEASE = "/root/release"
TOKEN = "/root/agent-token"


def bring(bed: Bed, release: Release, machine: Machine) -> None:
    """Put on a machine what a person would copy there: the program, and the release's files."""
    bed.put(machine, PROGRAM, build_program().data)
    folder = release.directory / release.version
    for path in folder.iterdir():
        bed.put(machine, f"{RELEASE}/{release.version}/{path.name}", path, mode="644")


def by_hand(bed: Bed, machine: Machine, words: str) -> str:
    return bed.ssh(machine, f"python3 {PROGRAM} {words}")


def make_cluster(bed: Bed, release: Release, server: Machine, agent: Machine) -> None:
    """Type what docs tell: a server, its agent token carried over, an agent."""
    lab_bed.in_parallel(lambda machine: bring(bed, release, machine), (server, agent))
    wanted = f"--version {release.version} --artifacts {RELEASE}"
    flags = " ".join(f"--config disable={name}" for name in lab_bed.NOTHING_PACKAGED)
    by_hand(bed, server, f"server {wanted} {flags}")
    token = re.search(r"^agent: (\S+)$", by_hand(bed, server, "token"), re.MULTILINE)
    assert token is not None
    bed.put(agent, TOKEN, token.group(1))
    by_hand(bed, agent, f"agent {wanted} --server https://{server.address}:6443 --token-file {TOKEN}")


def write_cluster_file(path: Path, bed: Bed, release: Release, *found: Machine) -> None:
    nodes = [
        {"name": one.name, "role": one.name.partition("-")[0], "address": one.address, "hostKey": one.host_key}
        for one in found
    ]
    k3s = {
        "version": release.version,
        "artifacts": {"source": str(release.directory)},
        "server": {"disable": lab_bed.NOTHING_PACKAGED},
    }
    ssh = {"user": "root", "key": str(bed.key)}
    spec = {"provider": {"kind": "onprem"}, "ssh": ssh, "k3s": k3s, "nodes": nodes}
    head = {"apiVersion": "productive-k3s/v1alpha1", "kind": "Cluster", "metadata": {"name": "hand"}}
    path.write_text(json.dumps({**head, "spec": spec}, indent=1))


def test_a_cluster_made_by_hand_is_taken_as_it_is(
    lab: Bed, k3s_release: Release, kubectl_tool: Path, tmp_path: Path
) -> None:
    server, agent = lab.create("hand", "server-1", "agent-1")
    make_cluster(lab, k3s_release, server, agent)
    site = Site(tmp_path / "site", k3s_release, kubectl_tool, "hand")
    site.path.mkdir()
    write_cluster_file(site.file, lab, k3s_release, server, agent)

    runs = {machine.name: lab_bed.started(lab, machine, unit(machine)) for machine in (server, agent)}
    nodes = uids(lab, server)
    assert sorted(nodes) == ["agent-1", "server-1"]
    planned = site.expect(3, "plan", "--exit-code")
    assert "3 steps for " in planned.out, planned

    applied = site.expect(0, "apply", "--yes", "-o", "json").document
    # They get the cluster's mark, through the API and in K3s' configuration, and nothing else.
    done = {result["step"]: sorted(result["changes"]) for result in applied["results"]}
    config = f"write:{lab_bed.CONFIG}"
    assert done == {
        "server-1/apply-server": ["label:server-1", config],
        "agent-1/label-node": [],
        "agent-1/apply-agent": [config],
    }
    assert applied["report"]["passed"]
    ca = lab.ssh(server, "sha256sum < /var/lib/rancher/k3s/server/tls/server-ca.crt").split()[0]
    assert f"caHash: {ca}" in (site.path / "cluster.lock").read_text()
    assert {node["metadata"]["name"]: node["metadata"]["uid"] for node in site.get("nodes")} == nodes
    assert {machine.name: lab_bed.started(lab, machine, unit(machine)) for machine in (server, agent)} == runs
    assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out


def unit(machine: Machine) -> str:
    return lab_bed.unit_of(machine.name.partition("-")[0])


def uids(bed: Bed, server: Machine) -> dict[str, str]:
    return {node["metadata"]["name"]: node["metadata"]["uid"] for node in lab_bed.get(bed, server, "nodes")["items"]}
