"""What each host is asked, from a cluster file as the loader reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.inventory.build import build_inventory, declared_location
from productive_k3s_infra.plan.requests import Situation, request_for
from static.plan.clusters import empty_host

FILE = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  provider: {kind: onprem}
  k3s:
    version: v1.34.4+k3s1
    files: {audit.yaml: audit.yaml, shared.yaml: audit.yaml}
    server:
      cluster-cidr: "10.42.0.0/16,fd00:42::/56"
      service-cidr: "10.43.0.0/16,fd00:43::/112"
      kubelet-arg: [max-pods=110, v=2]
    agent: {kubelet-arg: [max-pods=110]}
  nodes:
    - {name: server-1, role: server, address: 10.0.0.11, k3s: {node-ip: "10.0.0.11,fd00::11"}}
    - name: agent-1
      role: agent
      address: 10.0.0.21
      k3s: {kubelet-arg: [max-pods=200], node-ip: [10.0.0.21, "fd00::21"], files: {shared.yaml: own.yaml}}
    - {name: agent-2, role: agent, address: agent-2.example}
"""


def situation(folder: Path) -> Situation:
    (folder / "audit.yaml").write_text("kind: Policy\n")
    (folder / "own.yaml").write_text("kind: Own\n")
    (folder / "cluster.yaml").write_text(FILE)
    spec = load_cluster_file(folder / "cluster.yaml", {})
    inventory = build_inventory(spec, {node.name: declared_location(spec, node) for node in spec.nodes})
    return Situation(spec, inventory, {host.name: empty_host(host.name, "10.0.0.5") for host in inventory.hosts})


def test_a_node_is_asked_for_its_own_flags_over_those_of_its_role(tmp_path: Path) -> None:
    there = situation(tmp_path)
    server, own, other = (request_for(there, host) for host in there.inventory.hosts)
    assert server.config["kubelet-arg"] == ["max-pods=110", "v=2"]
    assert own.config == {"kubelet-arg": ["max-pods=200"]}
    assert other.config == {"kubelet-arg": ["max-pods=110"]}


def test_two_families_are_one_node_ip_and_a_name_is_none(tmp_path: Path) -> None:
    there = situation(tmp_path)
    requests = [request_for(there, host) for host in there.inventory.hosts]
    assert [request.node_ip for request in requests] == ["10.0.0.11,fd00::11", "10.0.0.21,fd00::21", None]
    assert all("node-ip" not in request.config for request in requests)


def test_files_go_by_name_and_those_of_a_node_come_first(tmp_path: Path) -> None:
    there = situation(tmp_path)
    server, own, _ = (request_for(there, host) for host in there.inventory.hosts)
    assert dict(server.files) == {"audit.yaml": "kind: Policy\n", "shared.yaml": "kind: Policy\n"}
    assert dict(own.files) == {"audit.yaml": "kind: Policy\n", "shared.yaml": "kind: Own\n"}


def test_only_a_server_may_found_a_new_cluster(tmp_path: Path) -> None:
    there = replace(situation(tmp_path), new_cluster=True)
    assert [request_for(there, host).new_cluster for host in there.inventory.hosts] == [True, False, False]
