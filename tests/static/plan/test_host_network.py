"""What hosts are told of names, addresses, the proxy and registries; and the files of a fleet of two architectures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts, Interface
from productive_k3s.contract.request import HostEntry, Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.release import resolve_release
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.execute.steps.perform import perform
from productive_k3s_infra.plan.host_network import secrets_of
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation, request_for
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.plan.step import ApplyAgent, ApplyServer, StageArtifacts
from productive_k3s_infra.plan.text import plan_lines
from static.artifacts.mirror import FILES, VERSION, release_directory
from static.fleet_doubles import FakeFleet, tools
from static.plan.clusters import executed, situation

PASSWORD = "hunter2"
FILE = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  provider: {kind: onprem}
  hostsFile: true
  k3s:
    version: v1.34.4+k3s1
    registrationAddress: k3s.internal
    apiAddress: k3s.example
    tlsSan: [k3s.example, 10.0.0.11]
    proxy:
      http: http://proxy.example:3128
      https: "http://ops:${PASSWORD}@proxy.example:3128"
      noProxy: [.internal]
    registries:
      mirrors: {docker.io: {endpoint: ["https://mirror.example"]}, quay.io: }
      configs:
        mirror.example:
          auth: {username: ops, password: "${PASSWORD}"}
          tls: {insecure_skip_verify: "${SKIP:-true}"}
        other.example: {auth: {token: "${PASSWORD}"}}
  nodes:
    - {name: server-1, role: server, address: 10.0.0.11, publicAddress: 203.0.113.7}
    - {name: agent-1, role: agent, address: 10.0.0.21, publicAddress: 203.0.113.8}
    - {name: agent-2, role: agent, address: 10.9.0.22}
"""


def loaded(tmp_path: Path, text: str = FILE) -> ClusterSpec:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    return load_cluster_file(file, {"PASSWORD": PASSWORD})


@pytest.fixture
def there(tmp_path: Path) -> Situation:
    return situation(loaded(tmp_path))


def asked(there: Situation, name: str) -> Request:
    return request_for(there, next(host for host in there.inventory.hosts if host.name == name))


class TestAddresses:
    def test_the_node_speaks_from_its_own_address_and_joins_where_the_file_says(self, there: Situation) -> None:
        agent = asked(there, "agent-1")
        assert agent.node_ip == "10.0.0.21"
        assert agent.join is not None
        assert agent.join.server == "https://k3s.internal:6443"

    def test_public_addresses_of_servers_are_in_the_certificate_only(self, there: Situation) -> None:
        server = asked(there, "server-1")
        assert server.tls_san == ("k3s.example", "10.0.0.11", "k3s.internal", "203.0.113.7")
        for name in ("server-1", "agent-1"):
            written = json.dumps(encode(replace(asked(there, name), secrets=Secrets(), tls_san=())))
            assert "203.0.113." not in written
        assert asked(there, "agent-1").tls_san == ()

    def test_without_words_of_the_file_all_is_the_first_server_s(self, tmp_path: Path) -> None:
        plain = FILE.replace("    registrationAddress: k3s.internal\n    apiAddress: k3s.example\n", "")
        found = situation(loaded(tmp_path, plain.replace("    tlsSan: [k3s.example, 10.0.0.11]\n", "")))
        assert asked(found, "agent-1").join == replace(asked(found, "agent-1").join, server="https://10.0.0.11:6443")  # type: ignore[type-var]
        assert asked(found, "server-1").tls_san == ("203.0.113.7",)
        same = FILE.replace("registrationAddress: k3s.internal", "registrationAddress: 10.0.0.11")
        assert (
            "10.0.0.11" not in asked(situation(loaded(tmp_path, same.replace(", 10.0.0.11]", "]"))), "server-1").tls_san
        )


class TestNames:
    def test_every_host_gets_all_names(self, there: Situation) -> None:
        wanted = (
            HostEntry("10.0.0.11", ("server-1", "k3s.internal")),
            HostEntry("10.0.0.21", ("agent-1",)),
            HostEntry("10.9.0.22", ("agent-2",)),
        )
        assert {asked(there, name).hosts_file for name in there.facts} == {wanted}

    def test_not_unless_asked_and_no_line_for_a_node_with_a_name_as_address(self, tmp_path: Path) -> None:
        assert (
            asked(
                situation(loaded(tmp_path, FILE.replace("hostsFile: true", "hostsFile: false"))), "agent-1"
            ).hosts_file
            == ()
        )
        named = FILE.replace("address: 10.0.0.11,", "address: server-1.example,")
        lines = asked(situation(loaded(tmp_path, named)), "agent-1").hosts_file
        assert [entry.names for entry in lines] == [("agent-1",), ("agent-2",)]


class TestProxy:
    def test_what_is_reached_directly(self, there: Situation) -> None:
        server, agent, far = (asked(there, name).environment["NO_PROXY"] for name in there.facts)
        assert server == ".internal,10.0.0.0/24,k3s.internal,10.9.0.22"
        # An agent's K3s does not add the cluster's own networks.
        assert agent == f"{server},10.42.0.0/16,10.43.0.0/16"
        assert far == ".internal,10.9.0.0/24,k3s.internal,10.0.0.11,10.0.0.21,10.42.0.0/16,10.43.0.0/16"

    def test_the_file_s_own_ranges_hold_what_is_in_them(self, tmp_path: Path) -> None:
        wide = FILE.replace("noProxy: [.internal]", "noProxy: [10.0.0.0/8, k3s.internal]")
        found = situation(loaded(tmp_path, wide))
        assert {asked(found, name).environment["NO_PROXY"] for name in found.facts} == {"10.0.0.0/8,k3s.internal"}

    def test_a_further_node_in_the_same_network_restarts_nobody(self, tmp_path: Path, there: Situation) -> None:
        more = FILE.replace(
            "  - {name: agent-2,", "  - {name: agent-3, role: agent, address: 10.0.0.23}\n    - {name: agent-2,"
        )
        after = situation(loaded(tmp_path, more))
        for name in ("server-1", "agent-1"):
            assert asked(after, name).environment == asked(there, name).environment

    def test_networks_of_the_cluster_are_those_of_the_file(self, tmp_path: Path) -> None:
        other = FILE.replace(
            "    proxy:\n", "    server: {cluster-cidr: '172.20.0.0/16', service-cidr: 172.21.0.0/16}\n    proxy:\n"
        )
        assert (
            asked(situation(loaded(tmp_path, other)), "agent-1")
            .environment["NO_PROXY"]
            .endswith(",172.20.0.0/16,172.21.0.0/16")
        )

    def test_without_a_proxy_there_are_no_variables(self, tmp_path: Path) -> None:
        begin, _, rest = FILE.partition("    proxy:\n")
        none = begin + rest[rest.index("    registries:") :]
        assert asked(situation(loaded(tmp_path, none)), "agent-1").environment == {}


class TestSecrets:
    def test_they_are_apart_from_the_rest(self, there: Situation) -> None:
        request = asked(there, "agent-1")
        assert request.environment["HTTP_PROXY"] == "http://proxy.example:3128"
        assert request.secrets.environment == {"HTTPS_PROXY": Secret(f"http://ops:{PASSWORD}@proxy.example:3128")}
        assert request.registries == {
            "mirrors": {"docker.io": {"endpoint": ["https://mirror.example"]}, "quay.io": None},
            "configs": {
                "mirror.example": {"auth": {"username": "ops"}, "tls": {"insecure_skip_verify": True}},
                "other.example": {},
            },
        }
        assert request.secrets.registries == {
            "mirror.example": {"password": Secret(PASSWORD)},
            "other.example": {"token": Secret(PASSWORD)},
        }

    def test_a_plan_holds_none_and_the_hosts_get_them(self, there: Situation) -> None:
        plan = plan_stages(there)
        assert PASSWORD not in json.dumps(encode(plan))
        assert PASSWORD not in "\n".join(plan_lines(plan, full=True))
        assert PASSWORD not in repr(there)

    async def test_they_are_filled_in_just_before_sending(self, there: Situation) -> None:
        fleet = FakeFleet(dict.fromkeys(there.facts, lambda _: Result("done", data={"agent": "x", "server": "y"})))
        step = next(item for item in plan_stages(there).steps if item.action == "apply-server")
        await perform(tools(fleet, secrets=secrets_of(there.spec)), step, lambda _: None)
        document = fleet.calls[-1].document or {}
        assert document["secrets"]["registries"]["mirror.example"] == {"password": PASSWORD}
        assert document["secrets"]["environment"]["HTTPS_PROXY"].startswith(f"http://ops:{PASSWORD}@")

    def test_a_second_plan_is_empty(self, there: Situation) -> None:
        done = executed(there, plan_stages(there))
        # The model of a host writes what the step asks; secrets are filled in on the way to a real one.
        left = [step.id for step in plan_stages(replace(done, spec=without_secrets(done.spec))).steps]
        assert left == []


def without_secrets(spec: ClusterSpec) -> ClusterSpec:
    proxy = spec.k3s.proxy
    assert proxy is not None
    registries = spec.k3s.open_registries
    k3s = spec.k3s.model_copy(update={"proxy": proxy.model_copy(update={"https": None}), "registries": registries})
    return spec.model_copy(update={"k3s": k3s})


class TestArchitectures:
    """Asset names are a trap: the binary of amd64 has no suffix, the checksum files and images always have one."""

    def of(self, facts: Facts, arch: str) -> Facts:
        return replace(facts, host=replace(facts.host, os=replace(facts.host.os, arch=arch)))

    @pytest.fixture
    def mixed(self, there: Situation, tmp_path: Path) -> Situation:
        source = release_directory(tmp_path / "release", FILES).parent
        facts = {**there.facts, "agent-1": self.of(there.facts["agent-1"], "arm64")}
        arches = frozenset(item.host.os.arch for item in facts.values())
        resolved = resolve_release(str(source), VERSION, arches, delivery="auto", cache=tmp_path / "cache")
        return replace(there, facts=facts, files=resolved.files)

    def names(self, plan: Plan, host: str) -> list[str]:
        step = next(item for item in plan.steps if item.id == f"{host}/stage-artifacts")
        assert isinstance(step, StageArtifacts)
        return [item.name for item in step.artifacts]

    def test_each_host_gets_the_files_of_its_own(self, mixed: Situation) -> None:
        plan = plan_stages(mixed)
        assert self.names(plan, "server-1") == ["k3s", "k3s-airgap-images-amd64.tar.zst"]
        assert self.names(plan, "agent-1") == ["k3s-arm64", "k3s-airgap-images-arm64.tar.gz"]
        assert self.names(plan, "agent-2") == self.names(plan, "server-1")
        binary = asked(mixed, "agent-1").binary
        assert binary is not None
        assert binary.sha256 == hashlib.sha256(FILES["k3s-arm64"]).hexdigest()
        # Whatever the asset is called, on the host it is /usr/local/bin/k3s.
        changes = next(step for step in plan.steps if step.id == "agent-1/apply-agent").changes
        assert [item.target for item in changes if item.action == "install-binary"] == ["/usr/local/bin/k3s"]

    def test_nothing_of_a_pushed_release_leads_to_the_internet(self, mixed: Situation) -> None:
        facts = {
            name: replace(item, host=replace(item.host, routes=(), default_interface=None))
            for name, item in mixed.facts.items()
        }
        plan = plan_stages(replace(mixed, facts=facts))
        assert not plan.refusals
        requests = [step.request for step in plan.steps if isinstance(step, ApplyServer | ApplyAgent)]
        artifacts = [item for request in requests for item in (request.binary, *request.images) if item is not None]
        assert artifacts
        assert {item.url for item in artifacts} == {None}
        pushed = {step.host for step in plan.steps if isinstance(step, StageArtifacts)}
        assert pushed == set(facts)


def test_of_several_interfaces_the_node_s_own_is_taken(tmp_path: Path) -> None:
    there = situation(loaded(tmp_path))
    two = (Interface("eth0", True, "", ("192.168.7.5/24",)), Interface("eth1", True, "", ("10.0.0.21/24",)))
    facts = replace(there.facts["agent-1"], host=replace(there.facts["agent-1"].host, interfaces=two))
    found = replace(there, facts={**there.facts, "agent-1": facts})
    step = next(item for item in plan_stages(found).steps if item.id == "agent-1/apply-agent")
    config = next(change for change in step.changes if change.target.endswith("config.yaml"))
    assert "+node-ip: 10.0.0.21" in config.diff
    assert "+flannel-iface: eth1" in config.diff
    assert asked(found, "agent-1").environment["NO_PROXY"].startswith(".internal,10.0.0.0/24,")
    gone = replace(facts, host=replace(facts.host, interfaces=two[:1]))
    (refusal,) = plan_stages(replace(found, facts={**found.facts, "agent-1": gone})).refusals
    assert refusal.failure.code == "host.address-missing"
