"""A cluster that somebody else made becomes a file whose first plan restarts nothing, and says what it leaves out."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import (
    ClusterFacts,
    Facts,
    HostsFile,
    Interface,
    NodeFact,
    Running,
    UnitFact,
)
from productive_k3s.k3s import paths
from productive_k3s.k3s.header import HEADER
from productive_k3s.plan.changes import assess
from productive_k3s_infra.adopt.document import AdoptedFile, Reach, adopt
from productive_k3s_infra.adopt.first_look import first_plan, render
from productive_k3s_infra.adopt.running_cluster import RunningHost, require_one_cluster
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.model import Endpoint
from productive_k3s_infra.operations.from_host import load_text
from productive_k3s_infra.plan.mark import MARK
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, LabelNode
from static.contract_program import hosts
from static.contract_program.hosts import CA, OTHER_CA, VERSION, after, digested, file, fresh, merged, on_k3s
from static.contract_program.left_by_others import OLD_PRE, VARIABLES, configured, left_by_script

INIT = ("--cluster-init",)


def member(name: str, address: str, facts: Facts) -> Facts:
    """The member under another name and address."""
    return on_k3s(replace(facts, host=at(name, address).host), node_name=name)


def at(name: str, address: str) -> Facts:
    """An empty host with this name and, on its first interface, this address."""
    second = f"192.168.9.{address.rpartition('.')[2]}"
    interfaces = (Interface("eth0", True, "", (f"{address}/24",)), Interface("eth1", True, "", (f"{second}/24",)))
    return fresh(hostname=name, machine_id=name, interfaces=interfaces)


def server(*flags: str, **given: Any) -> Facts:
    return member("server-1", "10.0.0.11", left_by_script("server", *flags, **given))


def agent(number: int, *flags: str, **given: Any) -> Facts:
    facts = left_by_script("agent", *flags, **{"variables": VARIABLES, **given})
    return member(f"agent-{number}", f"10.0.0.2{number}", facts)


def node(facts: Facts, **values: Any) -> NodeFact:
    # With flannel-iface and no node-ip K3s takes that interface's address.
    index = 1 if facts.k3s.config.get("flannel-iface") == ["eth1"] else 0
    address = facts.host.interfaces[index].addresses[0].partition("/")[0]
    roles = ("control-plane",) if facts.k3s.role == "server" else ()
    system = {"kubernetes.io/hostname": facts.k3s.node_name, "node.kubernetes.io/instance-type": "k3s"}
    labels = {**system, **values.pop("labels", {})}
    return NodeFact(facts.k3s.node_name, "uid", True, True, roles, VERSION, address, 1.0, labels=labels, **values)


def found(*facts: Facts, nodes: tuple[NodeFact, ...] = ()) -> tuple[RunningHost, ...]:
    """The hosts as they were looked at; by default each has its Node, and nothing else is in the cluster."""
    given = {item.name: item for item in nodes}
    seen = {one.k3s.node_name: node(one) for one in facts} | given
    result = []
    for one in facts:
        address = one.host.interfaces[0].addresses[0].partition("/")[0]
        live = replace(one, cluster=ClusterFacts(True, "", VERSION, tuple(seen.values())))
        result.append(RunningHost(address, Endpoint(address, "ops"), live if one.k3s.role == "server" else one))
    return tuple(result)


def adopted(*facts: Facts, nodes: tuple[NodeFact, ...] = ()) -> tuple[AdoptedFile, Plan]:
    """The file and the first plan on it, through the file's own text."""
    cluster = require_one_cluster(found(*facts, nodes=nodes))
    content = adopt("edge", cluster, Reach("ops"))
    with tempfile.TemporaryDirectory() as folder:
        spec = load_text(render(content), Path(folder, "cluster.yaml"), {**content.variables, **os.environ})
    return content, first_plan(spec, cluster, content)


def k3s_of(content: AdoptedFile) -> dict[str, Any]:
    said: dict[str, Any] = content.document["spec"]["k3s"]
    return said


def nodes_of(content: AdoptedFile) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = content.document["spec"]["nodes"]
    return said


def changes(plan: Plan) -> list[str]:
    assert not plan.refusals, plan.refusals
    return [change.id for step in plan.steps for change in step.changes if not is_mark(change)]


def is_mark(change: Change) -> bool:
    """An adopted node gets the cluster's mark by its first apply, through the API; that restarts nothing."""
    return change.action == "label-node" and change.reason == f"labels differ: {MARK}=edge"


def only_marks(plan: Plan) -> bool:
    return changes(plan) == [] and all(
        isinstance(step, ApplyServer) or (isinstance(step, LabelNode) and set(step.labels) == {MARK})
        for step in plan.steps
    )


def made_by_us(name: str, address: str, **wishes: Any) -> Facts:
    """A member that this program set up from nothing."""
    request = (hosts.agent if name.startswith("agent") else hosts.server)(binary=None, **wishes)
    facts = at(name, address)
    for change in assess(request, facts).changes:
        facts = after(request, facts, change)
    facts = on_k3s(facts, binary=file(paths.BINARY, ""), binary_version=VERSION, ca_hash=CA)
    return replace(facts, cluster=None)


def test_flags_on_the_unit_and_variables_become_keys_of_the_file() -> None:
    flags = (*INIT, "--disable=traefik", "--disable=servicelb", "--tls-san=k3s.example", "--write-kubeconfig-mode=644")
    more = ("--https-listen-port=7443", "--secrets-encryption", "--kubelet-arg=max-pods=50", "--kubelet-arg=v=2")
    content, plan = adopted(server(*flags, *more), agent(1, "--kubelet-arg=max-pods=50"), agent(2))
    assert k3s_of(content) == {
        "version": VERSION,
        "datastore": "etcd",
        "tlsSan": ["k3s.example"],
        "server": {
            "disable": ["servicelb", "traefik"],
            "https-listen-port": 7443,
            "kubelet-arg": ["max-pods=50", "v=2"],
            "secrets-encryption": True,
            "write-kubeconfig-mode": "644",
        },
    }
    assert nodes_of(content)[0] == {"name": "server-1", "role": "server", "address": "10.0.0.11"}
    assert (content.record.ca_hash, content.record.version) == (CA, VERSION)
    # Only one of the agents has a flag: it stands with that node, and nothing restarts.
    assert nodes_of(content)[1]["k3s"] == {"kubelet-arg": ["max-pods=50"]}
    assert "k3s" not in nodes_of(content)[2]
    assert content.remarks == ()
    assert "restart:k3s-agent" not in changes(plan)


OLD = OLD_PRE + "ExecStart="
DROP_IN = file(f"{paths.CONFIG}.d/10-more.yaml", "disable+: [servicelb]\nkubelet-arg: [max-pods=50]\n")
WAYS = {
    "flags on the unit": (server(*INIT, "--disable=traefik"), agent(1), agent(2)),
    "the second address": (server(*INIT, "--flannel-iface=eth1"), agent(1, "--flannel-iface=eth1")),
    "two families": (server(*INIT, "--node-ip=10.0.0.11,fd00::11"), agent(1)),
    "sqlite": (server("--disable=traefik", datastore="sqlite"),),
    "config.yaml": (configured(server(), "cluster-init: true\nsecrets-encryption: true\n"), agent(1)),
    "a drop-in": (configured(server(*INIT), "disable: [traefik]\n", DROP_IN), agent(1)),
    "data-dir as it is anyway": (server(*INIT, f"--data-dir={paths.DATA}"), agent(1, f"--data-dir={paths.DATA}")),
    "a secret": (server(*INIT, "--etcd-s3-secret-key=hunter2", "--etcd-s3"), agent(1)),
    "the token on the unit": (
        server(*INIT, "--token=hunter2"),
        agent(1, "--server=https://10.0.0.11:6443", "--token=hunter2", variables=""),
    ),
    "agents alike": (server(*INIT), agent(1, "--selinux"), agent(2, "--selinux")),
    "pk3s": (
        made_by_us("server-1", "10.0.0.11", config={"disable": ["traefik"]}, labels={MARK: "edge", "a": "b"}),
        made_by_us("agent-1", "10.0.0.21", labels={MARK: "edge"}),
    ),
}


@pytest.mark.parametrize("facts", WAYS.values(), ids=WAYS)
def test_the_first_plan_changes_nothing(facts: tuple[Facts, ...]) -> None:
    content, plan = adopted(*facts, nodes=tuple(map(labelled, facts)))
    assert changes(plan) == []
    marked = {step.host for step in plan.steps if isinstance(step, ApplyServer | ApplyAgent)}
    assert {item.host for item in plan.unchanged} | marked == {one.k3s.node_name for one in facts}
    assert "***" not in render(content)
    assert "hunter2" not in render(content)


def labelled(facts: Facts) -> NodeFact:
    """The Node with the labels that its kubelet was started with."""
    labels = dict(item.split("=") for item in facts.k3s.config.get("node-label", ()))
    return node(facts, labels=labels, own_labels=tuple(labels))


def test_what_was_made_by_hand_gets_the_mark_in_its_configuration_too() -> None:
    """The host program knows no cluster's name, so its nodes have no mark; nothing starts anew for it."""
    facts = (made_by_us("server-1", "10.0.0.11", labels={"a": "b"}), made_by_us("agent-1", "10.0.0.21"))
    _content, plan = adopted(*facts, nodes=tuple(map(labelled, facts)))
    assert set(changes(plan)) == {f"write:{paths.CONFIG}"}
    assert {step.impact for step in plan.steps} == {"change"}


def test_the_unit_of_another_tool_is_left_and_said_to_be_cosmetic() -> None:
    facts = server(*INIT, "--disable=traefik")
    unit: UnitFact = facts.k3s.units[0]
    fragment = unit.fragment
    assert fragment is not None
    text = (fragment.text or "").replace("ExecStart=", OLD).replace("Type=notify", "Type=exec")
    other = merged(on_k3s(facts, units=(replace(unit, fragment=file(fragment.path, text)),)))
    other = on_k3s(other, running=replace(facts.k3s.running, digests=other.k3s.on_disk))  # type: ignore[type-var]
    _, plan = adopted(other)
    assert changes(plan) == []
    found, flags_, unit_ = plan.notes[-3:]
    assert "nothing is rewritten (on the unit: cluster-init, disable)" in found
    assert flags_.startswith(
        "server-1: cosmetic: with the next change that restarts K3s, cluster-init, disable move to"
    )
    assert unit_.endswith("(now it differs in ExecStartPre, Type)")


def test_labels_and_taints_are_those_of_the_node() -> None:
    facts = agent(1, "--node-label=disk=hdd", "--node-label=gone=1", "--node-taint=a=b:NoSchedule")
    labels = {"disk": "ssd", "team": "blue", "other.example/made-by-an-operator": "x", "set": "by-pk3s"}
    taints = ("a=b:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule")
    there = node(facts, labels=labels, taints=taints, own_labels=("set",))
    content, plan = adopted(server(*INIT), facts, nodes=(there,))
    (entry,) = nodes_of(content)[1:]
    assert entry["labels"] == {"disk": "ssd", "set": "by-pk3s", "team": "blue"}
    assert entry["taints"] == ["a=b:NoSchedule"]
    assert only_marks(plan)


def test_addresses_apart_and_a_registration_address() -> None:
    url = "K3S_TOKEN='hunter2'\nK3S_URL='https://api.k3s.example:6443'\n"
    hosts_ = found(server(*INIT, "--tls-san=api.k3s.example"), agent(1, variables=url))
    outside = replace(hosts_[0], endpoint=Endpoint("203.0.113.5", "admin", 2222))
    content = adopt("edge", require_one_cluster((outside, hosts_[1])), Reach("ops", key="~/.ssh/k", jump="ops@b:22"))
    assert content.document["spec"]["ssh"] == {"user": "ops", "key": "~/.ssh/k", "jump": "ops@b:22"}
    assert nodes_of(content)[0]["address"] == "10.0.0.11"
    assert nodes_of(content)[0]["ssh"] == {"address": "203.0.113.5", "user": "admin", "port": 2222}
    assert k3s_of(content)["registrationAddress"] == "api.k3s.example"
    assert "ssh" not in nodes_of(content)[1]
    # It would be put into the certificate, with a restart.
    content, plan = adopted(server(*INIT), agent(1, variables=url))
    assert "registrationAddress" not in k3s_of(content)
    assert "api.k3s.example, which is not in the certificate" in content.remarks[0]
    assert changes(plan) == []


def test_what_is_not_said_is_a_remark() -> None:
    wrong = server(*INIT, "--node-external-ip=203.0.113.5", "--no-such-flag=1", "--vpn-auth=hunter2")
    wrong = on_k3s(wrong, registries=file(paths.REGISTRIES, "configs: {r.example: {auth: {password: hunter2}}}\n"))
    older = on_k3s(agent(1, variables=VARIABLES + "CONTAINERD_LOG_LEVEL=debug\n"), binary_version="v1.33.1+k3s1")
    lost = node(agent(7))
    content = adopt("edge", require_one_cluster(found(wrong, older, nodes=(lost,))), Reach("ops"))
    remarks = "\n".join(content.remarks)
    assert "server-1: node-external-ip (on the unit) is not in this file: without advertise-address" in remarks
    assert (
        "server-1: no-such-flag (on the unit) is not in this file: no-such-flag is not a flag of k3s server" in remarks
    )
    assert "server-1: vpn-auth is a secret and stays on the host" in remarks
    assert remarks.count("vpn-auth") == 1
    assert f"{paths.REGISTRIES} (server-1) is not in this file and is left alone" in remarks
    assert "agent-1: runs v1.33.1+k3s1" in remarks
    assert "agent-1: /etc/systemd/system/k3s-agent.service.env sets CONTAINERD_LOG_LEVEL, which a cluster" in remarks
    assert "agent-7 (10.0.0.27) is in the cluster, but was not named: it is left alone" in remarks
    assert "--from-host 10.0.0.27" in remarks
    text = render(content)
    assert all(f"# - {remark}" in text for remark in content.remarks)
    assert yaml.safe_load(text) == content.document


def test_a_node_that_was_not_named_and_has_the_mark_of_this_cluster_is_said_to_go_with_prune() -> None:
    for mark, fate in (("edge", "has this cluster's label, so that --prune removes it"), ("other", "is left alone")):
        lost = node(agent(7), labels={MARK: mark})
        content = adopt("edge", require_one_cluster(found(server(*INIT), nodes=(lost,))), Reach("ops"))
        assert f"agent-7 (10.0.0.27) is in the cluster, but was not named: it {fate}." in "\n".join(content.remarks)


def test_names_in_etc_hosts_stay_there() -> None:
    block = ("10.0.0.11 server-1", "10.0.0.21 agent-1")
    there = [with_hosts(one, block) for one in (server(*INIT), agent(1))]
    content, plan = adopted(*there)
    assert content.document["spec"]["hostsFile"] is True
    assert changes(plan) == []
    content, _ = adopted(server(*INIT), agent(1))
    assert "hostsFile" not in content.document["spec"]


def with_hosts(facts: Facts, block: tuple[str, ...]) -> Facts:
    return replace(facts, host=replace(facts.host, hosts_files=(HostsFile("/etc/hosts", block),)))


def test_what_stands_in_a_drop_in_of_one_agent_only_is_said_of_that_node_and_not_moved() -> None:
    one = configured(agent(1), "", file(f"{paths.CONFIG}.d/50-host.yaml", "kubelet-arg: [max-pods=50]\n"))
    content, plan = adopted(server(*INIT), one, agent(2))
    assert changes(plan) == []
    assert nodes_of(content)[1]["k3s"] == {"kubelet-arg": ["max-pods=50"]}
    assert content.remarks == ()


def test_a_flag_that_no_file_can_say_is_a_remark_on_each_agent_that_has_it() -> None:
    content, _ = adopted(server(*INIT), agent(1, "--made-up=1"), agent(2, "--made-up=1"))
    assert "agent" not in k3s_of(content)
    assert [(remark.split(":")[0], remark.split(" ")[1]) for remark in content.remarks if "made-up" in remark] == [
        ("agent-1", "made-up"),
        ("agent-2", "made-up"),
    ]


def test_a_secret_inside_of_a_flag_is_a_variable() -> None:
    argument = "--kube-apiserver-arg=some-client-secret=decoy-000"
    content, plan = adopted(server(*INIT, "--kube-apiserver-arg=v=1", argument, "--kubelet-arg=a=${b}"), agent(1))
    assert k3s_of(content)["server"]["kube-apiserver-arg"] == ["v=1", "${SERVER_KUBE_APISERVER_ARG_2}"]
    assert "decoy" not in render(content)
    assert "set SERVER_KUBE_APISERVER_ARG_2 to what the host has, some-client-secret=[redacted]" in content.remarks[0]
    assert changes(plan) == []


PROXY = "HTTP_PROXY='http://p:1'\nHTTPS_PROXY='http://user:word@p:1'\nNO_PROXY='127.0.0.0/8,10.0.0.0/8'\n"


def test_a_proxy_is_said_and_its_password_is_a_variable() -> None:
    content, plan = adopted(server(*INIT, variables=PROXY), agent(1, variables=VARIABLES + PROXY))
    said = {"http": "http://p:1", "https": "${HTTPS_PROXY}", "noProxy": ["127.0.0.0/8", "10.0.0.0/8"]}
    assert k3s_of(content)["proxy"] == said
    assert content.remarks == ("the proxy has a password: set HTTPS_PROXY to http://***@p:1 when you run pk3s",)
    assert changes(plan) == []
    content, plan = adopted(server(*INIT, variables=PROXY), agent(1))
    assert "proxy" not in k3s_of(content)
    assert "the hosts have different proxies" in content.remarks[0]
    assert "restart:k3s" in changes(plan)


def test_registries_are_said_where_nothing_of_them_is_secret() -> None:
    text = "mirrors:\n  docker.io:\n    endpoint:\n    - https://mirror.example\n"
    there = [with_registries(one, text) for one in (server(*INIT), agent(1))]
    content, plan = adopted(*there)
    assert k3s_of(content)["registries"] == {"mirrors": {"docker.io": {"endpoint": ["https://mirror.example"]}}}
    assert changes(plan) == []
    # Those that pk3s wrote would be taken away without a word of them: a variable stands for what is secret.
    ours = f"# {HEADER}1. So.\nconfigs:\n  r.example:\n    auth: {{password: hunter2, username: me}}\n"
    content = adopt("edge", require_one_cluster(found(with_registries(server(*INIT), ours))), Reach("ops"))
    auth = {"password": "${REGISTRY_R_EXAMPLE_AUTH_PASSWORD}", "username": "me"}
    assert k3s_of(content)["registries"] == {"configs": {"r.example": {"auth": auth}}}
    assert "set REGISTRY_R_EXAMPLE_AUTH_PASSWORD when you run pk3s" in content.remarks[0]


def with_registries(facts: Facts, text: str) -> Facts:
    facts = digested(on_k3s(facts, registries=file(paths.REGISTRIES, text)))
    return on_k3s(facts, running=Running("unchanged", facts.k3s.on_disk))


def refused(*hosts_: RunningHost) -> BadInput:
    with pytest.raises(BadInput) as raised:
        require_one_cluster(hosts_)
    assert raised.value.remedy
    assert raised.value.where
    return raised.value


def test_two_clusters() -> None:
    error = refused(*found(server(*INIT), on_k3s(agent(1), ca_hash=OTHER_CA)))
    assert error.code == "init.two-clusters"
    assert "10.0.0.11" in error.where
    assert "10.0.0.21" in error.where
    # Two servers of one name are two clusters first of all.
    assert refused(*found(server(*INIT)), *found(on_k3s(server(*INIT), ca_hash=OTHER_CA))).code == "init.two-clusters"


@pytest.mark.parametrize(("version", "is_old"), [("v1.28.15+k3s1", True), ("v1.29.0+k3s1", False), ("", True)])
def test_an_old_version(version: str, is_old: bool) -> None:
    facts = on_k3s(server(*INIT), binary_version=version)
    if is_old:
        error = refused(*found(facts))
        assert error.code == "init.old-version"
        assert version in error.evidence
    else:
        assert require_one_cluster(found(facts)).server.facts is not None


def test_no_k3s_of_a_cluster() -> None:
    bare = replace(fresh(), host=replace(at("node-9", "10.0.0.29").host, other_kubernetes=("k3s-node",)))
    error = refused(*found(server(*INIT)), RunningHost("10.0.0.29", Endpoint("10.0.0.29"), bare))
    assert (error.code, error.where, error.evidence) == ("init.no-k3s", "10.0.0.29", "k3s-node")
    never = on_k3s(agent(1), ca_hash="", has_node_password=False)
    assert "never joined" in refused(*found(never)).evidence


def test_an_agent_without_its_server() -> None:
    error = refused(*found(agent(1), agent(2)))
    assert error.code == "init.no-server"
    assert error.remedy.endswith("--from-host 10.0.0.11")


def test_several_servers() -> None:
    second = member("server-2", "10.0.0.12", left_by_script("server", *INIT))
    assert refused(*found(server(*INIT), second)).code == "init.several-servers"
    error = refused(*found(server(*INIT), nodes=(node(second),)))
    assert error.code == "init.several-servers"
    assert "server-2 (10.0.0.12)" in error.evidence


def test_other_things_that_no_file_says() -> None:
    assert refused(*found(on_k3s(server(), datastore="external"))).code == "init.not-supported"
    elsewhere = refused(*found(server(*INIT, "--data-dir=/data")))
    assert (elsewhere.code, elsewhere.evidence) == ("init.not-supported", "/data (set by unit)")
    assert refused(*found(on_k3s(server(*INIT), config_error="config.yaml:3:1: broken"))).code == "init.config"
    assert refused(*found(server(*INIT)), *found(server(*INIT))).code == "init.same-host"
    (stopped,) = found(server(*INIT))
    silent = replace(stopped, facts=replace(stopped.facts, cluster=ClusterFacts(False, "connection refused")))
    assert (refused(silent).code, refused(silent).evidence) == ("init.not-running", "connection refused")
    assert refused(replace(stopped, facts=replace(stopped.facts, cluster=None))).evidence == "unit k3s active"


def test_a_name_that_no_file_can_say_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    content = adopt("edge", require_one_cluster(found(server(*INIT, "--tls-san=*.k3s.example"))), Reach("ops"))
    with pytest.raises(BadInput) as raised:
        load_text(render(content), tmp_path / "cluster.yaml", os.environ)
    assert list(tmp_path.iterdir()) == []
    assert raised.value.code == "init.cannot-say"
    assert "*.k3s.example" in raised.value.evidence
