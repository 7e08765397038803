"""Preflight: each rule has rows that pass and rows that fail, and every host gets every answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.facts import Facts, FileSystem, Interface, Listener, OperatingSystem
from productive_k3s.contract.failure import Failure
from productive_k3s.k3s import release
from productive_k3s_infra.cluster_file.model import ClusterSpec, K3s, LocalProvider, Node, NodeK3s, OnpremProvider
from productive_k3s_infra.errors import AuthenticationRefused, HostUnreachable, Pk3sError
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.inventory.observed import Listening, Measured, Observed, Probe
from productive_k3s_infra.plan.model import ClusterRecord, Refusal
from productive_k3s_infra.preflight.hosts import ARCHITECTURES
from productive_k3s_infra.preflight.rules import RULES, already_listening, preflight_checks, table_lines, to_probe
from static.contract_program.hosts import CA, OTHER_CA, fresh, on_k3s, unit_fact
from static.fleet_doubles import host, inventory

DOCS = Path(__file__).parents[3] / "docs" / "preflight.md"
GB = 10**9
SERVER, AGENT = host("server-1", "server"), host("agent-1")
HOSTS = (SERVER, AGENT)


def good(at: Host, **changes: object) -> Facts:
    """A host with which nothing is wrong, but for the changes."""
    number = "1" if at.role == "server" else "2"
    facts: dict[str, object] = {
        "hostname": at.name,
        "machine_id": number * 32,
        "memory_bytes": 4 * GB,
        "cgroup_controllers": ("cpu", "cpuset", "io", "memory", "pids"),
        "interfaces": (Interface("lo", True, "", ("127.0.0.1/8",)), Interface("eth0", True, "", (f"{at.address}/24",))),
        "nameservers": ("10.0.0.1",),
        "routes": ("default via 10.0.0.1 dev eth0", "10.0.0.0/24 dev eth0"),
    }
    return fresh(**{**facts, **changes})


def disk(free: float, *, read_only: bool = False, no_exec: bool = False) -> FileSystem:
    return FileSystem("/var/lib/rancher", "ext4", int(free), 40 * GB, read_only, no_exec)


def tcp(port: int, address: str = "0.0.0.0", process: str = "nginx") -> Listener:
    return Listener("tcp", address, port, process)


def installed(facts: Facts, state: str = "active", **k3s: object) -> Facts:
    unit = unit_fact("k3s", "", active_state=state)
    return on_k3s(facts, **{"role": "server", "units": (unit,), "datastore": "etcd", "ca_hash": CA, **k3s})


def spec(version: str = "v1.34.4+k3s1", *, local: bool = False, **k3s: Any) -> ClusterSpec:
    nodes = tuple(Node(name=item.name, role=item.role, address=item.address) for item in HOSTS)
    provider = LocalProvider(kind="local") if local else OnpremProvider(kind="onprem")
    return ClusterSpec(name="edge", provider=provider, k3s=K3s(version=version, **k3s), nodes=nodes)


def with_flags(name: str, flags: dict[str, Any]) -> ClusterSpec:
    """One node has flags of its own."""
    wish = spec()
    nodes = (node.model_copy(update={"k3s": NodeK3s(**flags)}) if node.name == name else node for node in wish.nodes)
    return wish.model_copy(update={"nodes": tuple(nodes)})


@dataclass(frozen=True)
class World:
    """Everything preflight is given; by default two hosts with which nothing is wrong."""

    server: Facts = field(default_factory=lambda: good(SERVER))
    agent: Facts | None = field(default_factory=lambda: good(AGENT))
    spec: ClusterSpec = field(default_factory=spec)
    hosts: tuple[Host, ...] = HOSTS
    unreachable: Mapping[str, Pk3sError] = field(default_factory=dict)
    skews: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    probes: tuple[Probe, ...] | None = ()
    record: ClusterRecord | None = None
    refusals: tuple[Refusal, ...] = ()

    @property
    def observed(self) -> Observed:
        facts = {"server-1": self.server, "agent-1": self.agent}
        measured = {name: Measured(found, *self.skews.get(name, (-0.2, 0.2))) for name, found in facts.items() if found}
        return Observed(measured, self.unreachable)

    def judged(self) -> tuple[CheckResult, ...]:
        return preflight_checks(
            self.spec, inventory(*self.hosts), self.observed, self.probes, self.record, refusals=self.refusals
        )


def on_server(**changes: object) -> World:
    return World(server=good(SERVER, **changes))


def on_agent(**changes: object) -> World:
    return World(agent=good(AGENT, **changes))


def configured(world: World, *, allows: bool) -> World:
    """The kubelet's own configuration on the server says whether cgroup v1 will do."""
    return replace(world, server=replace(world.server, k3s=replace(world.server.k3s, fail_cgroup_v1=not allows)))


def system(name: str, version: str, arch: str = "amd64") -> OperatingSystem:
    return OperatingSystem(name, version, f"{name} {version}", "6.1", arch)


def eth(address: str, *, up: bool = True) -> tuple[Interface, ...]:
    return (Interface("eth0", True, "", ("10.0.0.99/24",)), Interface("eth1", up, "", (address,)))


UNREACHABLE = {"agent-1": HostUnreachable("no connection", evidence="timed out", where="agent-1")}
REFUSED = {"agent-1": AuthenticationRefused("the key is not accepted", where="agent-1")}

# What is wrong, the rule, the severity (None: it passes), a part of the subject, and a part of what is said of it.
CASES: tuple[tuple[World, str, str | None, str, str], ...] = (
    (World(), "host.reachable", None, "agent-1", "answers at root@10.0.0.21:22"),
    (World(agent=None, unreachable=UNREACHABLE), "host.reachable", "error", "agent-1", "ssh.unreachable: timed out"),
    (World(agent=None, unreachable=REFUSED), "host.reachable", "error", "agent-1", "ssh.authentication check ssh.user"),
    (World(agent=None), "host.reachable", "error", "agent-1", "was not checked"),
    (World(agent=None, hosts=(SERVER, replace(AGENT, assumed=True))), "host.reachable", None, "agent-1", "not exist"),
    (World(), "host.init", None, "server-1", "systemd"),
    (on_server(init="busybox"), "host.init", "error", "server-1", "busybox"),
    (on_server(os=system("debian", "13")), "host.os", None, "server-1", "debian 13"),
    (on_server(os=system("ubuntu", "26.04")), "host.os", None, "server-1", "ubuntu"),
    (on_server(os=system("ubuntu", "20.04")), "host.os", "warning", "server-1", "not listed"),
    (on_server(os=system("alpine", "3.20")), "host.os", "warning", "server-1", "not listed"),
    (on_server(os=system("debian", "12", "arm64")), "host.architecture", None, "server-1", "arm64"),
    (on_server(os=system("debian", "12", "riscv64")), "host.architecture", "error", "server-1", "riscv64"),
    (on_server(python="3.9.2"), "host.python", None, "server-1", "3.9.2"),
    (on_server(python="3.14.0rc1"), "host.python", None, "server-1", "3.14"),
    (on_server(python="3.8.20"), "host.python", "error", "server-1", "3.8.20"),
    (on_server(python=""), "host.python", "error", "server-1", "unknown"),
    (on_server(), "host.exec", None, "server-1", "can be run"),
    (on_server(file_systems=(disk(20 * GB, no_exec=True),)), "host.exec", "error", "server-1", "/var/lib/rancher"),
    (on_server(), "host.cloud-init", None, "server-1", "no cloud-init"),
    (on_server(cloud_init="done"), "host.cloud-init", None, "server-1", "finished"),
    (on_agent(cloud_init="running"), "host.cloud-init", "error", "agent-1", "cloud-init status --wait"),
    (on_agent(cloud_init="error", cloud_init_error="no"), "host.cloud-init", "warning", "agent-1", "an error no"),
    (on_server(), "host.apparmor", None, "server-1", "no AppArmor"),
    (on_server(apparmor="enabled"), "host.apparmor", None, "server-1", "are available"),
    (on_server(apparmor="no-parser"), "host.apparmor", "warning", "server-1", "install the package apparmor"),
    (on_server(), "host.nameserver", None, "server-1", "10.0.0.1"),
    (on_server(nameservers=()), "host.nameserver", "warning", "server-1", "8.8.8.8"),
    (on_server(nameservers=None), "host.nameserver", "warning", "server-1", "not known"),
    (
        replace(on_server(nameservers=()), spec=spec(local=True)),
        "host.nameserver",
        None,
        "server-1",
        "no internet access",
    ),
    (
        replace(on_server(nameservers=()), spec=spec(server={"resolv-conf": "/etc/k3s-resolv.conf"})),
        *("host.nameserver", None, "server-1", "resolv-conf"),
    ),
    (
        replace(on_server(nameservers=()), spec=with_flags("server-1", {"resolv-conf": "/etc/k3s-resolv.conf"})),
        *("host.nameserver", None, "server-1", "resolv-conf"),
    ),
    (on_server(memory_bytes=int(1.93 * GB)), "host.memory", None, "server-1", "1.9 GB"),
    (on_server(memory_bytes=int(1.8 * GB)), "host.memory", "warning", "server-1", "below 2.0 GB"),
    (on_server(memory_bytes=int(0.9 * GB)), "host.memory", "error", "server-1", "900 MB"),
    (on_agent(memory_bytes=500_000_000), "host.memory", None, "agent-1", "500 MB"),
    (on_agent(memory_bytes=400_000_000), "host.memory", "warning", "agent-1", "below 512 MB"),
    (on_agent(memory_bytes=200_000_000), "host.memory", "error", "agent-1", "200 MB"),
    (on_agent(cpus=1), "host.cpus", None, "agent-1", "1 CPUs"),
    (on_server(cpus=1), "host.cpus", "warning", "server-1", "below 2"),
    (on_server(file_systems=(disk(5 * GB),)), "host.disk", None, "server-1", "5.0 GB free"),
    (on_server(file_systems=(disk(4.9 * GB),)), "host.disk", "warning", "server-1", "4.9 GB"),
    (on_server(file_systems=(disk(0.9 * GB),)), "host.disk", "error", "server-1", "900 MB"),
    (on_server(file_systems=()), "host.disk", "warning", "server-1", "not known"),
    (World(server=installed(good(SERVER, file_systems=(disk(2 * GB),)))), "host.disk", None, "server-1", "2.0 GB"),
    (World(server=installed(good(SERVER, file_systems=(disk(1e8),)))), "host.disk", "warning", "server-1", "100 MB"),
    (World(), "host.writable", None, "server-1", "can be written"),
    (on_server(file_systems=(disk(GB * 9, read_only=True),)), "host.writable", "error", "server-1", "/var/lib/rancher"),
    (World(), "host.cgroup-version", None, "server-1", "cgroup v2"),
    (on_server(cgroup_version=1), "host.cgroup-version", None, "server-1", "refuses from 1.35 on"),
    (
        replace(on_server(cgroup_version=1), spec=spec("v1.35.0+k3s1")),
        *("host.cgroup-version", "error", "server-1", "v1.35.0+k3s1 refuses cgroup v1"),
    ),
    (
        replace(on_server(cgroup_version=1), spec=spec("v1.35.0+k3s1", server={"kubelet-arg": "fail-cgroupv1=false"})),
        *("host.cgroup-version", None, "server-1", "cgroup v1"),
    ),
    (
        replace(on_agent(cgroup_version=1), spec=spec("v1.35.0+k3s1", server={"kubelet-arg": "fail-cgroupv1=false"})),
        *("host.cgroup-version", "error", "agent-1", "refuses"),
    ),
    (
        replace(configured(on_server(cgroup_version=1), allows=True), spec=spec("v1.35.0+k3s1")),
        *("host.cgroup-version", None, "server-1", "cgroup v1"),
    ),
    (
        replace(configured(on_server(cgroup_version=1), allows=False), spec=spec("v1.35.0+k3s1")),
        *("host.cgroup-version", "error", "server-1", "refuses"),
    ),
    (
        replace(
            configured(on_server(cgroup_version=1), allows=True),
            spec=spec("v1.35.0+k3s1", server={"kubelet-arg": "fail-cgroupv1"}),
        ),
        *("host.cgroup-version", "error", "server-1", "refuses"),
    ),
    (World(), "host.cgroup-controllers", None, "server-1", "are available"),
    (on_server(cgroup_controllers=("cpu", "cpuset", "pids")), "host.cgroup-controllers", "error", "server-1", "memory"),
    (
        on_server(cgroup_version=1, cgroup_controllers=("memory", "pids")),
        *("host.cgroup-controllers", None, "server-1", "available"),
    ),
    (
        on_server(cgroup_version=1, cgroup_controllers=("cpu", "pids")),
        *("host.cgroup-controllers", "error", "server-1", "missing: memory"),
    ),
    (World(), "host.xtables", None, "server-1", "has x_tables"),
    (on_server(has_xtables=False), "host.xtables", "warning", "server-1", "nftables"),
    (World(), "host.swap", None, "server-1", "no swap"),
    (on_server(swap_bytes=2 * GB), "host.swap", "warning", "server-1", "2.0 GB of swap"),
    (on_server(selinux="permissive"), "host.selinux", None, "server-1", "permissive"),
    (on_server(selinux="enforcing"), "host.selinux", "info", "server-1", "k3s-selinux"),
    (World(), "host.other-kubernetes", None, "server-1", "no other"),
    (on_server(other_kubernetes=("kubeadm",)), "host.other-kubernetes", "error", "server-1", "kubeadm"),
    (
        World(server=installed(good(SERVER, other_kubernetes=("k3s-two",)))),
        *("host.other-kubernetes", "warning", "server-1", "k3s-two"),
    ),
    (World(), "host.machine-id", None, "edge", "of its own"),
    (on_agent(machine_id="1" * 32), "host.machine-id", "error", "server-1, agent-1", "systemd-machine-id-setup"),
    (on_agent(machine_id=""), "host.machine-id", "error", "agent-1", "no valid machine-id"),
    (on_agent(machine_id="uninitialized"), "host.machine-id", "error", "agent-1", "uninitialized"),
    (on_agent(hostname="Agent-1.example"), "host.hostname", None, "agent-1", "agent-1.example"),
    (on_agent(hostname="agent_1"), "host.hostname", "warning", "agent-1", "agent_1"),
    (on_agent(hostname="localhost.localdomain"), "host.hostname", "warning", "agent-1", "localhost"),
    (on_agent(hostname=""), "host.hostname", "warning", "agent-1", "empty"),
    (on_agent(hostname="a" * 64), "host.hostname", "warning", "agent-1", "a" * 64),
    (World(), "host.hostname-unique", None, "edge", "of its own"),
    (on_agent(hostname="SERVER-1"), "host.hostname-unique", "error", "server-1, agent-1", "server-1"),
    (World(skews={"agent-1": (0.9, 1.3)}), "host.clock", None, "edge", "no skew"),
    (World(skews={"agent-1": (1.3, 1.7)}), "host.clock", "warning", "server-1, agent-1", "ahead of server-1"),
    (World(skews={"agent-1": (-9.4, -9.0)}), "host.clock", "warning", "server-1, agent-1", "ahead of agent-1"),
    (World(skews={"agent-1": (1.3, 99.0)}), "host.clock", "warning", "server-1, agent-1", "at least 1.1 s"),
    (World(skews={"agent-1": (-99.0, 99.0)}), "host.clock", None, "edge", "no skew"),
    (World(skews={"agent-1": (61.0, 62.0)}), "host.clock", "error", "server-1, agent-1", "at least 60.8 s"),
    (World(skews={"agent-1": (60.0, 62.0)}), "host.clock-here", None, "agent-1", "as on this computer"),
    (World(skews={"agent-1": (61.0, 62.0)}), "host.clock-here", "warning", "agent-1", "ahead of this computer"),
    (World(skews={"agent-1": (-99.0, -98.0)}), "host.clock-here", "warning", "agent-1", "behind this computer"),
    (World(), "node.name", None, "agent-1", "can be"),
    (World(hosts=(SERVER, replace(AGENT, name="agent_1"))), "node.name", "error", "agent_1", "cannot be"),
    (World(hosts=(SERVER, replace(AGENT, name="a" * 64))), "node.name", "error", "a" * 64, "cannot be"),
    (World(hosts=(SERVER, replace(AGENT, name="server-1"))), "node.name", "error", "server-1, server-1", "one node"),
    (World(hosts=(SERVER, replace(AGENT, name="Server-1"))), "node.name", "error", "server-1, Server-1", "one node"),
    (
        World(server=installed(good(SERVER)), record=ClusterRecord(CA, "v1.34.4+k3s1")),
        *("node.cluster", None, "server-1", "member of this cluster"),
    ),
    (
        World(server=installed(good(SERVER)), record=ClusterRecord(OTHER_CA, "v1.34.4+k3s1")),
        *("node.cluster", "error", "server-1", f"its CA is {CA[:12]}..., recorded is {OTHER_CA[:12]}"),
    ),
    (World(server=installed(good(SERVER))), "node.cluster", None, "server-1", "not recorded yet"),
    (
        World(
            server=installed(good(SERVER)),
            agent=installed(good(AGENT), role="agent", datastore=None, ca_hash=OTHER_CA, has_node_password=True),
        ),
        *("node.cluster", "error", "server-1, agent-1", "different clusters"),
    ),
    (World(), "net.address", None, "agent-1", "10.0.0.21 is on eth0"),
    (on_agent(interfaces=eth("10.0.0.21/32")), "net.address", None, "agent-1", "on eth1"),
    (on_agent(interfaces=eth("10.0.0.22/24")), "net.address", "error", "agent-1", "eth1 10.0.0.22/24"),
    (on_agent(interfaces=eth("10.0.0.21/24", up=False)), "net.address", "error", "agent-1", "bring eth1 up"),
    (
        World(hosts=(SERVER, replace(AGENT, address="agent.example"))),
        "net.address",
        None,
        "agent-1",
        "10.0.0.21 on eth0",
    ),
    (
        World(hosts=(SERVER, replace(AGENT, address="agent.example")), agent=good(AGENT, default_interface=None)),
        *("net.address", "error", "agent-1", "no interface with a default route"),
    ),
    (World(), "net.default-route", None, "agent-1", "eth0"),
    (on_agent(default_interface=None), "net.default-route", "error", "agent-1", "no default route"),
    (World(), "net.overlap", None, "agent-1", "pods 10.42.0.0/16"),
    (
        on_agent(routes=("10.42.7.0/24 dev wg0",)),
        "net.overlap",
        "error",
        "agent-1",
        "pods 10.42.0.0/16 and route 10.42",
    ),
    (on_agent(routes=("10.0.0.0/8 via 10.0.0.1",)), "net.overlap", "error", "agent-1", "services 10.43.0.0/16 and"),
    (on_agent(routes=("unreachable 10.9.0.0/16", "")), "net.overlap", None, "agent-1", "free"),
    (on_agent(interfaces=eth("10.43.1.1/24")), "net.overlap", "error", "agent-1", "eth1 10.43.1.1/24"),
    (on_agent(interfaces=eth("fd00::1/64")), "net.overlap", None, "agent-1", "free"),
    (
        World(spec=spec(server={"cluster-cidr": "10.0.0.0/16,fd42::/56"})),
        *("net.overlap", "error", "server-1", "node agent-1 10.0.0.21"),
    ),
    (
        replace(on_agent(routes=("10.42.7.0/24 dev wg0",)), spec=spec(server={"cluster-cidr": ["10.52.0.0/16"]})),
        *("net.overlap", None, "agent-1", "pods 10.52.0.0/16"),
    ),
    (
        World(
            server=installed(
                good(
                    SERVER,
                    routes=("10.42.0.0/24 dev cni0",),
                    interfaces=(
                        Interface("eth0", True, "", ("10.0.0.11/24",)),
                        Interface("cni0", True, "", ("10.42.0.1/24",)),
                    ),
                )
            )
        ),
        *("net.overlap", None, "server-1", "free"),
    ),
    (World(), "net.ports-free", None, "server-1", "are free"),
    (on_server(listeners=(tcp(6443),)), "net.ports-free", "error", "server-1", "tcp/6443 by nginx"),
    (on_server(listeners=(tcp(6443, "127.0.0.1", ""),)), "net.ports-free", "error", "server-1", "by a process"),
    (on_agent(listeners=(tcp(6443),)), "net.ports-free", None, "agent-1", "free"),
    (on_agent(listeners=(tcp(10250, "::"),)), "net.ports-free", "error", "agent-1", "10250"),
    (on_server(listeners=(tcp(2380),)), "net.ports-free", "error", "server-1", "2380"),
    (replace(on_server(listeners=(tcp(2380),)), spec=spec(datastore="sqlite")), "net.ports-free", None, "server-1", ""),
    (on_server(listeners=(tcp(10257, "127.0.0.1"),)), "net.ports-free", "error", "server-1", "10257"),
    (on_server(listeners=(tcp(10257, "10.0.0.11"),)), "net.ports-free", None, "server-1", "free"),
    (on_server(listeners=(tcp(10248, "127.0.0.53%lo"),)), "net.ports-free", None, "server-1", "free"),
    (on_agent(listeners=(tcp(10248, "*"),)), "net.ports-free", "error", "agent-1", "10248"),
    (on_agent(listeners=(Listener("udp", "0.0.0.0", 8472),)), "net.ports-free", "error", "agent-1", "udp/8472"),
    (
        replace(
            on_agent(listeners=(Listener("udp", "0.0.0.0", 8472),)), spec=spec(server={"flannel-backend": "host-gw"})
        ),
        *("net.ports-free", None, "agent-1", "free"),
    ),
    (
        replace(on_server(listeners=(tcp(6443),)), spec=spec(server={"https-listen-port": 7443})),
        *("net.ports-free", None, "server-1", "free"),
    ),
    (
        replace(on_server(listeners=(tcp(7443),)), spec=spec(server={"https-listen-port": 7443})),
        *("net.ports-free", "error", "server-1", "tcp/7443 by nginx"),
    ),
    (
        replace(on_server(listeners=(tcp(7444, "127.0.0.1"),)), spec=spec(server={"https-listen-port": 7443})),
        *("net.ports-free", "error", "server-1", "tcp/7444 by nginx"),
    ),
    (
        replace(
            on_agent(listeners=(Listener("udp", "0.0.0.0", 51820),)),
            spec=spec(server={"flannel-backend": "wireguard-native"}),
        ),
        *("net.ports-free", "error", "agent-1", "udp/51820"),
    ),
    (on_server(listeners=(tcp(6443, process="k3s-server"),)), "net.ports-free", "error", "server-1", "k3s-killall.sh"),
    (
        World(server=installed(good(SERVER, listeners=(tcp(6443),)))),
        *("net.ports-free", None, "server-1", "K3s is running here"),
    ),
    (
        World(server=installed(good(SERVER, listeners=(tcp(6443),)), state="failed")),
        *("net.ports-free", "warning", "server-1", "6443"),
    ),
    (World(), "net.web-ports", None, "agent-1", "free for Traefik"),
    (on_agent(listeners=(tcp(443),)), "net.web-ports", "warning", "agent-1", "443 by nginx"),
    (
        replace(on_agent(listeners=(tcp(443),)), spec=spec(server={"disable": ["traefik"]})),
        *("net.web-ports", None, "agent-1", "does not need"),
    ),
    (World(probes=None), "net.reach", "info", "edge", "not tested"),
    (
        World(probes=(Probe("agent-1", "server-1", "tcp/6443", ""),)),
        *("net.reach", None, "agent-1 to server-1 tcp/6443", "is reached"),
    ),
    (
        World(probes=(Probe("agent-1", "server-1", "udp/8472", "no answer"),)),
        *("net.reach", "error", "agent-1 to server-1 udp/8472", "no answer"),
    ),
    (
        World(probes=(Probe("agent-1", "server-1", "tcp/10250", "refused"),)),
        *("net.reach", "warning", "agent-1 to server-1 tcp/10250", "refused"),
    ),
    (World(), "net.firewall", None, "server-1", "no active firewall"),
    (
        on_server(active_firewalls=("ufw",)),
        *("net.firewall", "warning", "server-1", "open tcp/6443, tcp/10250, udp/8472 between the nodes"),
    ),
    (on_agent(active_firewalls=("firewalld",)), "net.firewall", "warning", "agent-1", "open tcp/10250, udp/8472"),
    (
        replace(on_agent(active_firewalls=("ufw",)), spec=spec(server={"service-cidr": "10.53.0.0/16"})),
        *("net.firewall", "warning", "agent-1", "10.42.0.0/16 and 10.53.0.0/16"),
    ),
)


@pytest.mark.parametrize(
    ("world", "rule", "severity", "subject", "said"),
    CASES,
    ids=[f"{case[1]}-{case[2] or 'passes'}-{index}" for index, case in enumerate(CASES)],
)
def test_a_rule(world: World, rule: str, severity: str | None, subject: str, said: str) -> None:
    found = [check for check in world.judged() if check.id == rule and check.subject == subject]
    assert len(found) == 1, [check for check in world.judged() if check.id == rule]
    check = found[0]
    assert (None if check.passed else check.severity) == severity
    assert said in f"{check.message} {check.evidence} {check.remedy}"
    assert bool(check.remedy) is not check.passed


def test_every_rule_has_a_row_that_passes_and_one_for_each_severity() -> None:
    rows = {(rule, severity) for _, rule, severity, _, _ in CASES}
    wanted = {(rule.id, severity) for rule in RULES for severity in (None, *rule.severities)}
    assert rows == wanted


def test_all_hosts_with_which_nothing_is_wrong_pass_everything() -> None:
    bad = [check for check in World().judged() if not check.passed]
    assert not bad


def test_all_findings_come_at_once() -> None:
    world = World(
        server=good(SERVER, init="busybox", cpus=1, swap_bytes=GB, default_interface=None),
        agent=None,
        unreachable=UNREACHABLE,
    )
    failed = {(check.id, check.subject) for check in world.judged() if not check.passed}
    assert failed == {
        ("host.reachable", "agent-1"),
        ("host.init", "server-1"),
        ("host.cpus", "server-1"),
        ("host.swap", "server-1"),
        ("net.default-route", "server-1"),
    }


def test_probes_of_a_host_that_cannot_be_asked_say_nothing_new() -> None:
    probes = (Probe("agent-1", "server-1", "tcp/6443", "no route"), Probe("server-1", "agent-1", "tcp/10250", "none"))
    world = World(agent=None, unreachable=UNREACHABLE, probes=probes)
    assert not [check for check in world.judged() if check.id == "net.reach"]


def test_a_veto_is_an_error_with_its_own_code_unless_a_rule_has_said_it() -> None:
    def refusal(code: str, at: str) -> Refusal:
        return Refusal(at, Failure(code, "what", "seen", "next", 4))

    codes = ("host.no-systemd", "config.overridden")
    world = replace(
        on_server(init="busybox"),
        refusals=tuple(refusal(code, at) for code in codes for at in ("server-1", "agent-1")),
    )
    vetoes = [(check.id, check.subject) for check in world.judged() if check.id in codes]
    assert vetoes == [
        ("host.no-systemd", "agent-1"),
        ("config.overridden", "server-1"),
        ("config.overridden", "agent-1"),
    ]
    veto = next(check for check in world.judged() if check.id == "config.overridden")
    assert (veto.severity, veto.message, veto.evidence, veto.remedy) == ("error", "what", "seen", "next")


def test_ports_are_probed_where_no_k3s_runs_and_nobody_listens() -> None:
    fleet = inventory(*HOSTS)
    assert to_probe(spec(), fleet, World().observed) == {
        "server-1": ("tcp/6443", "tcp/10250", "udp/8472"),
        "agent-1": ("tcp/10250", "udp/8472"),
    }
    flags = {"https-listen-port": 7443, "flannel-backend": "wireguard-native"}
    assert to_probe(spec(server=flags), fleet, World().observed) == {
        "server-1": ("tcp/7443", "tcp/10250", "udp/51820"),
        "agent-1": ("tcp/10250", "udp/51820"),
    }
    both = {"flannel-backend": "wireguard-native", "cluster-cidr": "10.42.0.0/16,fd00:42::/56"}
    assert to_probe(spec(server=both), fleet, World().observed)["agent-1"] == ("tcp/10250", "udp/51820", "udp/51821")
    assert to_probe(spec(server={"flannel-backend": "none"}), fleet, World().observed)["agent-1"] == ("tcp/10250",)
    running = World(server=installed(good(SERVER)), agent=good(AGENT, listeners=(tcp(10250),)))
    assert to_probe(spec(), fleet, running.observed) == {"agent-1": ("udp/8472",)}
    stopped = World(server=installed(good(SERVER), state="inactive"), agent=None, unreachable=UNREACHABLE)
    assert list(to_probe(spec(), fleet, stopped.observed)) == ["server-1"]


def test_new_agents_try_where_they_will_join() -> None:
    fleet, name = inventory(*HOSTS), {"registration_address": "k3s.internal"}
    fresh_hosts = World().observed
    assert already_listening(spec(**name), fleet, fresh_hosts) == (Listening("k3s.internal", "tcp/6443", ("agent-1",)),)
    assert already_listening(spec(), fleet, fresh_hosts) == ()
    # The hosts are told of the name themselves, and it leads to the server, which is tried anyway.
    assert already_listening(spec(**name).model_copy(update={"hosts_file": True}), fleet, fresh_hosts) == ()
    member = World(agent=on_k3s(good(AGENT), role="agent", units=(unit_fact("k3s-agent", "", active_state="active"),)))
    assert already_listening(spec(**name), fleet, member.observed) == ()
    other = {**name, "server": {"https-listen-port": 7443}}
    assert already_listening(spec(**other), fleet, fresh_hosts) == (
        Listening("k3s.internal", "tcp/7443", ("agent-1",)),
    )


def test_a_newcomer_tries_the_server_that_runs_before_anything_is_pushed_to_it() -> None:
    fleet = inventory(*HOSTS)
    running = World(server=installed(good(SERVER)))
    assert "server-1" not in to_probe(spec(), fleet, running.observed)
    door = Listening(SERVER.address, "tcp/6443", ("agent-1",), "server-1")
    assert already_listening(spec(), fleet, running.observed) == (door,)
    world = replace(running, probes=(Probe("agent-1", "server-1", "tcp/6443", "timed out"),))
    (found,) = [check for check in world.judged() if check.id == "net.reach"]
    assert (found.passed, found.severity) == (False, "error")
    both = World(server=installed(good(SERVER)), agent=installed(good(AGENT), role="agent"))
    assert already_listening(spec(), fleet, both.observed) == ()


def test_a_registration_address_that_is_not_reached_stops_the_run() -> None:
    probes = (Probe("agent-1", "k3s.internal", "tcp/6443", "no such name"),)
    world = World(probes=probes)
    checks = preflight_checks(world.spec, inventory(*HOSTS), world.observed, world.probes)
    (found,) = [check for check in checks if check.id == "net.reach"]
    assert (found.passed, found.severity, found.subject) == (False, "error", "agent-1 to k3s.internal tcp/6443")


def test_the_architectures_are_those_of_the_releases() -> None:
    assert set(ARCHITECTURES) == set(release.BINARIES)


def test_the_documentation_has_exactly_the_rules() -> None:
    documented = [line for line in DOCS.read_text().splitlines() if line.startswith("|")]
    assert documented == list(table_lines())
