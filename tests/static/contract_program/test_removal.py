"""What a removal takes and what it leaves, as far as it can be said without a host."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from productive_k3s.contract.facts import ClusterFacts, Facts, NodeFact
from productive_k3s.doors.host import Host, drive
from productive_k3s.effects import removal
from productive_k3s.verbs import remove
from static.contract_program.hosts import CA, fresh, on_k3s, unit_fact


def member(*names: str) -> Facts:
    nodes = tuple(NodeFact(name, name, True, True, (), "v1", "", 0.0) for name in names)
    here = on_k3s(
        fresh(), role="server", units=(unit_fact("k3s", ""),), datastore="etcd", ca_hash=CA, node_name="node-1"
    )
    return replace(here, cluster=ClusterFacts(True, "", "v1", nodes))


def test_nothing_there_nothing_to_do() -> None:
    assert removal.plan_removal(fresh()) == ()


def test_leftovers_alone_are_worth_a_removal() -> None:
    assert "network:interfaces" in [item.id for item in removal.plan_removal(on_k3s(fresh(), leftovers=("cni0",)))]


def test_only_rules_of_kubernetes_go() -> None:
    saved = (
        "*filter\n:INPUT ACCEPT [0:0]\n:KUBE-FORWARD - [0:0]\n-A INPUT -s 10.0.0.1/32 -j DROP\n"
        '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD\n-A POSTROUTING -j CNI-abc\nCOMMIT\n'
    )
    assert removal.rules_of_others(saved) == ("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 10.0.0.1/32 -j DROP\nCOMMIT\n")


def test_only_routes_through_other_nodes_to_pods_go() -> None:
    """Flannel with host-gw leaves them on the host's own interface (flannel, backends)."""
    routes = [
        {"dst": "default", "gateway": "10.0.0.1", "dev": "eth0"},
        {"dst": "10.42.1.0/24", "gateway": "10.0.0.12", "dev": "eth0"},
        {"dst": "10.42.0.0/24", "dev": "cni0"},
        {"dst": "10.43.0.0/24", "gateway": "10.0.0.9", "dev": "eth0"},
        {"dst": "fd42::/64", "gateway": "fd00::12", "dev": "eth0"},
    ]
    told = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_IPV6_NETWORK=fd42::/48\nFLANNEL_SUBNET=10.42.0.1/24\n"
    assert removal.routes_to_pods(json.dumps(routes), told) == (
        ("10.42.1.0/24", "via", "10.0.0.12"),
        ("fd42::/64", "via", "fd00::12"),
    )
    assert removal.routes_to_pods("no JSON", told) == ()
    assert removal.routes_to_pods(json.dumps(routes), "") == ()


def test_mounts_are_taken_deepest_first_and_others_stay() -> None:
    mounts = "".join(
        f"x {point} tmpfs rw 0 0\n"
        for point in ("/", "/run", "/run/k3s/a", "/run/k3s/a/b\\040c", "/var/lib/rancher/k3s/data", "/run/netns/cni-1")
    )
    assert removal.mounts_below(mounts) == ("/run/netns/cni-1", "/run/k3s/a/b c", "/run/k3s/a")


@pytest.mark.parametrize(
    ("facts", "agreed", "code"),
    [
        (member("node-1", "agent-1"), {"yes": True}, "cluster.has-members"),
        (member("node-1"), {}, "cluster.would-be-lost"),
    ],
)
def test_a_server_does_not_simply_go(facts: Facts, agreed: dict[str, bool], code: str) -> None:
    class Doors:
        async def lock(self, path: str, wait: float) -> None:
            return None

    async def gather(_: Host) -> Facts:
        return facts

    host = Host(Doors(), None, lambda *_: None)  # type: ignore[arg-type]
    result = drive(remove.run(host, gather=gather, **agreed))
    assert result.outcome == "refused"
    assert result.failures[0].code == code
    assert result.failures[0].exit_code == 4


def test_a_kubectl_of_somebody_else_is_no_trace() -> None:
    assert removal.plan_removal(on_k3s(fresh(), links={"/usr/local/bin/kubectl": "/usr/bin/kubectl"})) == ()
    assert removal.plan_removal(on_k3s(fresh(), links={"/usr/local/bin/kubectl": "k3s"}))


def test_a_unit_that_is_not_there_is_not_stopped() -> None:
    gone = unit_fact("k3s", "", load_state="not-found", fragment=None)
    left = on_k3s(fresh(), units=(gone,), leftovers=("/etc/systemd/system/k3s.service.env",))
    assert not any(change.action == "stop-unit" for change in removal.plan_removal(left))
    assert any(
        change.action == "stop-unit"
        for change in removal.plan_removal(on_k3s(left, units=(replace(gone, main_pid=7),)))
    )
