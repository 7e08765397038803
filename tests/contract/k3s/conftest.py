"""What the K3s behaviour suite runs on: machines, real SSH, a K3s started by hand. Nothing of the product is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import lab_bed
from lab_bed import Bed, Machine, Release
from productive_k3s_infra.providers.local.machines import destroy

SET = "k3s"


@dataclass(frozen=True)
class Cluster:
    """A server and its agents."""

    bed: Bed
    release: Release
    server: Machine
    agents: tuple[Machine, ...] = ()

    def on(self, command: str, machine: Machine | None = None) -> str:
        """Run a command on a machine, the server if none is named."""
        return self.bed.ssh(machine or self.server, command)

    def get(self, words: str) -> object:
        """Return what `kubectl get` answers."""
        return lab_bed.get(self.bed, self.server, words)

    def node(self, name: str) -> dict:
        """Return a Node."""
        return lab_bed.get(self.bed, self.server, f"node {name}")


@pytest.fixture(scope="module")
def cluster(module_lab: Bed, k3s_release: Release) -> Cluster:
    """One server and two agents that only read-only statements use; the server has drop-ins and an unknown key."""
    server, *agents = module_lab.create(SET, "server-1", "agent-1", "agent-2")
    drop_ins = {
        "10-first.yaml": 'node-label+: ["second=2"]\ntls-san: [dropped.example]\n',
        "20-second.yaml": 'node-label+: ["third=3"]\ntls-san: [k3s.example, 192.0.2.7]\nno-such-flag: 1\n',
        "30-not-read.txt": "node-label: [not=read]\n",
    }
    module_lab.put_all(server, {f"{lab_bed.CONFIG}.d/{name}": (text, 0o600) for name, text in drop_ins.items()})
    more = {"node_label": ["first=1"], "tls_san": ["replaced.example"]}
    lab_bed.place(module_lab, k3s_release, server, *agents)
    token = lab_bed.found_server(module_lab, server, **more)
    lab_bed.join_agents(module_lab, server, token, *agents, node_label=["disk=ssd"])
    names = {machine.name for machine in (server, *agents)}
    lab_bed.until(lambda: lab_bed.ready_nodes(module_lab, server) == names, 60, "all nodes Ready")
    return Cluster(module_lab, k3s_release, server, tuple(agents))


@pytest.fixture(scope="module")
def full(module_lab: Bed, k3s_release: Release) -> Cluster:
    """One server and one agent; nothing is disabled."""
    server, agent = module_lab.create("full", "server-1", "agent-1")
    lab_bed.found_cluster(module_lab, k3s_release, server, agent, disable=[])
    return Cluster(module_lab, k3s_release, server, (agent,))


@pytest.fixture(scope="module")
def home(module_lab: Bed, k3s_release: Release) -> Cluster:
    """A server that agents of single tests join."""
    (server,) = module_lab.create(SET, "server-1")
    lab_bed.place(module_lab, k3s_release, server, images=False)
    lab_bed.found_server(module_lab, server)
    return Cluster(module_lab, k3s_release, server)


@pytest.fixture
def spare(home: Cluster) -> Iterator[Machine]:
    """A fresh machine that reaches `home` and has the binary, no images; it and its Node go after the test."""
    bed = home.bed
    (machine,) = (one for one in bed.create(SET, "server-1", "spare") if one.name == "spare")
    lab_bed.place(bed, home.release, machine, images=False)
    yield machine
    destroy(SET, ["spare"], root=bed.root)
    lab_bed.kubectl(bed, home.server, "delete node spare --ignore-not-found")


@pytest.fixture
def alone(lab: Bed, k3s_release: Release) -> Cluster:
    """A fresh machine with the binary, no images; its server is not started."""
    (machine,) = lab.create("alone", "server-1")
    lab_bed.place(lab, k3s_release, machine, images=False)
    return Cluster(lab, k3s_release, machine)
