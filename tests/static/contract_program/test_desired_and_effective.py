"""What holds on a host whose files somebody else wrote, as a simulated machine shows it; and vetoes of it."""

from __future__ import annotations

import json

import pytest

from install_script import unit_text
from productive_k3s.contract.facts import ClusterFacts
from productive_k3s.contract.request import Join
from productive_k3s.doors.host import run_to_end
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import assess
from static.contract_program.hosts import agent, desired_files, server
from static.contract_program.running_servers import VERSION, Foreign, Own, codes, ids, ready, wish
from static.contract_program.simulated import Machine

SECRETS = (
    "etcd-s3-secret-key: hunter2\ndatastore-endpoint: postgres://k3s:hunter3@db/k3s\nvpn-auth: name=x,joinKey=hunter4\n"
)


class TestSomebodyElsesFiles:
    def test_secrets_in_their_config_are_no_difference(self) -> None:
        machine = Foreign(f"cluster-init: true\n{SECRETS}")
        found = machine.assess()
        assert ids(found) == []
        assert "it matches the request" in "; ".join(found.notes)
        assert "hunter" not in repr(machine.facts())

    @pytest.mark.parametrize("key", ["etcd-s3-secret-key", "datastore-endpoint", "vpn-auth"])
    def test_a_rewrite_that_would_lose_them_is_a_veto(self, key: str) -> None:
        found = Foreign(f"cluster-init: true\n{SECRETS}").assess(config={"debug": True})
        assert [veto.what for veto in found.vetoes if veto.what.startswith(key)] == [
            f"{key} is a secret in a {paths.CONFIG} that productive-k3s did not write, and would be lost"
        ]

    def test_what_else_differs_is_seen_beside_a_secret(self) -> None:
        """The masked text of such a file is no YAML."""
        machine = Foreign(f"cluster-init: true\ndisable: [traefik]\n{SECRETS}")
        assert ids(machine.assess(config={"disable": ["traefik"]})) == []
        assert codes(machine.assess()) == ["config.secret-elsewhere"] * 3

    def test_a_token_of_theirs_moves_into_its_file(self) -> None:
        machine = Foreign("cluster-init: true\ntoken: hunter2\n")
        assert ids(machine.assess()) == []
        changes = ids(machine.assess(config={"debug": True}))
        assert changes[:2] == [f"secret:{paths.SERVER_TOKEN}", f"secret:{paths.AGENT_TOKEN}"]
        assert f"write:{paths.CONFIG}" in changes

    def test_a_variable_of_the_unit_whose_value_stands_elsewhere_too(self) -> None:
        unit = unit_text("server").replace("Type=notify", "Type=notify\nEnvironment=ROLE=server")
        found = Foreign("cluster-init: true\n", unit=unit).assess()
        assert ids(found) == []
        assert any("it differs in Environment" in note for note in found.notes)

    def test_a_drop_in_that_cannot_be_shown_and_replaces_the_command(self) -> None:
        path = f"{paths.SYSTEMD_DIRECTORY}/k3s.service.d/override.conf"
        text = "[Service]\nExecStart=\nExecStart=/opt/bin/k3s server --token 'a''b'\n"
        machine = Foreign("cluster-init: true\n", drop_ins={path: text})
        assert machine.facts().k3s.units[0].drop_ins[0].text is None
        assert "unit.overridden" in codes(machine.assess())

    def test_a_proxys_password_is_compared_and_not_told(self) -> None:
        machine = Foreign("cluster-init: true\n")
        machine.put({paths.environment_file("k3s"): "HTTPS_PROXY='http://ops:hunter2@p.example:3128'\n"})
        same, other = ({"HTTPS_PROXY": f"http://ops:{word}@p.example:3128"} for word in ("hunter2", "hunter3"))
        assert ids(machine.assess(environment=same)) == []
        assert f"write:{paths.environment_file('k3s')}" in ids(machine.assess(environment=other))
        assert "hunter2" not in repr(machine.facts())

    def test_a_list_as_one_word_is_the_list(self) -> None:
        found = Foreign("cluster-init: true\ndisable: traefik,servicelb\ncluster-cidr: 10.42.0.0/16,fd42::/56\n")
        wishes = {"disable": ["servicelb", "traefik"], "cluster-cidr": ["10.42.0.0/16", "fd42::/56"]}
        assert ids(found.assess(config=wishes)) == []
        unit = unit_text("server", "--cluster-init", "--disable=traefik,servicelb")
        assert ids(Foreign("", unit=unit).assess(config={"disable": ["traefik", "servicelb"]})) == []

    def test_a_label_in_their_configuration_comes_back_and_that_is_said(self) -> None:
        machine = Foreign("cluster-init: true\nnode-label: [disk=ssd]\n")
        machine.cluster = ClusterFacts(True, "", VERSION, (ready(labels={"disk": "ssd"}),))
        found = machine.assess()
        assert ids(found) == ["label:node-1"]
        assert any("K3s sets the labels disk=ssd again at each start" in note for note in found.notes)


class TestLabelsInTheConfiguration:
    def test_they_follow_without_a_restart(self) -> None:
        machine = Own(wish(labels={"disk": "ssd", "rack": "r1"}), labels={"disk": "ssd", "rack": "r1"})
        assert ids(machine.assess(labels={"disk": "ssd", "rack": "r1"})) == []
        assert ids(machine.assess(labels={"disk": "hdd"})) == ["label:node-1", f"write:{paths.CONFIG}"]

    def test_what_was_written_restarts_nothing_later(self) -> None:
        machine = Own(wish(labels={"disk": "ssd"}), labels={"disk": "hdd"}, taints=("a=b:NoSchedule",))
        before = machine.facts().k3s.on_disk
        asked = wish(labels={"disk": "hdd"}, taints=("a=b:NoSchedule",))
        for file in desired_files(asked, machine.facts()):
            machine.put({file.path: file.text})
        assert machine.facts().k3s.on_disk == before
        assert ids(assess(asked, machine.facts())) == []

    def test_a_label_of_a_drop_in_is_beside_ours(self) -> None:
        machine = Own(wish(labels={"disk": "ssd"}), labels={"disk": "ssd", "rack": "r1"})
        machine.put({f"{paths.CONFIG}.d/r.yaml": "node-label+: [rack=r1]\n"})
        assert codes(machine.assess(labels={"disk": "hdd"})) == []


class TestTaints:
    def test_ours_come_and_go_and_others_stay(self) -> None:
        there = ("a=b:NoSchedule", "node.kubernetes.io/unreachable:NoExecute")
        machine = Own(wish(taints=("a=b:NoSchedule",)), taints=there)
        assert ids(machine.assess(taints=("a=b:NoSchedule",))) == []
        found = machine.assess(taints=("c:NoExecute",))
        assert ids(found) == ["taint:node-1", f"write:{paths.CONFIG}"]
        assert found.changes[0].reason == "taints differ: c:NoExecute, a:NoSchedule is removed"
        new = Own(wish(), taints=there[1:]).assess(taints=("a=b:NoSchedule",))
        assert ids(new) == ["taint:node-1", f"write:{paths.CONFIG}"]
        assert new.changes[0].reason == "taints differ: a=b:NoSchedule"
        noted = Own(wish(), taints=there, own_taints=("a:NoSchedule",))
        assert ids(noted.assess()) == ["taint:node-1"]
        assert ids(Own(wish(), taints=there).assess()) == []


class TestVetoes:
    def test_encryption_does_not_go_while_secrets_are_encrypted(self) -> None:
        machine = Own(wish(config={"secrets-encryption": True}))
        assert codes(machine.assess()) == ["k3s.secrets-encryption-goes"]
        assert codes(machine.assess(config={"secrets-encryption": False})) == ["k3s.secrets-encryption-goes"]

        def providers(*names: str) -> str:
            said = [{name: {"keys": [{"secret": "hunter2"}]}} for name in names]
            return json.dumps({"resources": [{"resources": ["secrets"], "providers": said}]})

        machine.put({paths.ENCRYPTION_CONFIG: providers("aescbc", "identity")})
        (veto,) = machine.assess().vetoes
        assert (veto.code, "secrets-encrypt disable" in veto.remedy) == ("k3s.secrets-encryption-goes", True)
        assert "hunter2" not in repr(machine.facts())
        machine.put({paths.ENCRYPTION_CONFIG: providers("identity", "aescbc")})
        assert codes(machine.assess()) == []

    def test_a_member_of_etcd_keeps_its_address(self) -> None:
        machine = Own(wish(node_ip="10.0.0.11"))
        machine.system.script("ip", "-json", "addr", stdout=json.dumps([
            {"ifname": "eth0", "flags": ["UP"], "link_type": "ether", "address": "52:54:00:00:00:01", "addr_info": [
                {"family": "inet", "local": "10.0.0.99", "prefixlen": 24, "scope": "global"}]}]))  # fmt: skip
        (veto,) = machine.assess(node_ip="10.0.0.99").vetoes
        assert veto.code == "k3s.address-changes"
        assert "replace the server" in veto.remedy

    def test_another_address_of_sqlite_says_what_follows(self) -> None:
        machine = Own(wish(node_ip="10.0.0.99", datastore="sqlite"))
        run_to_end(machine.system.remove(f"{paths.DATA}/server/db/etcd/name"))
        machine.put({f"{paths.DATA}/server/db/state.db": ""})
        found = machine.assess(node_ip="10.0.0.11", datastore="sqlite")
        assert "restart:k3s" in ids(found)
        assert any("address changes from 10.0.0.99 to 10.0.0.11" in note for note in found.notes)

    @pytest.mark.parametrize(
        ("text", "refused"),
        [("failCgroupV1: false\n", False), ("failCgroupV1: true\n", True), ("maxPods: 50\n", True), ("", True)],
    )
    def test_cgroup_v1_where_the_kubelets_own_configuration_says_so(self, text: str, refused: bool) -> None:
        machine = Machine()
        machine.system.put({"/proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t1\t1\t1\n"})
        run_to_end(machine.system.remove("/sys/fs/cgroup/cgroup.controllers"))
        machine.system.put({f"{paths.KUBELET_DROP_INS}/50-v1.conf": f"kind: KubeletConfiguration\n{text}"})
        found = assess(server(version="v1.36.3+k3s1"), machine.facts()).vetoes
        assert (["host.cgroup-v1"] if refused else []) == [veto.code for veto in found]
        assert all("for servers and for agents" in veto.remedy for veto in found)

    def test_our_own_config_that_is_damaged_is_replaced(self) -> None:
        machine = Own(wish())
        text = next(file.text for file in desired_files(wish(), machine.facts()) if file.path == paths.CONFIG)
        machine.put({paths.CONFIG: text + "node-ip: [1\n"})
        found = machine.assess()
        assert f"write:{paths.CONFIG}" in ids(found)
        theirs = Foreign("node-ip: [1\n")
        assert "config.unreadable" in codes(theirs.assess())


def test_a_join_is_written_for_agents_only() -> None:
    assert codes(assess(agent(join=Join("https://10.0.0.11:6443")), Machine().facts(), planning=True)) == []
