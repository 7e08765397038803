"""What `pk3s inventory` writes: golden for the use cases, lossless for Ansible, without secrets, the same twice."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from hypothesis import given, settings
from hypothesis import strategies as st

from productive_k3s.contract.codec import encode
from productive_k3s.contract.request import Request, Secrets
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.program import Program
from productive_k3s_infra.artifacts.release import Resolved
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.build import build_inventory, declared_location
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory, Location
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.operations.inventory import ansible_inventory, known_hosts_text
from productive_k3s_infra.operations.observe import Observation
from productive_k3s_infra.plan.model import ReleaseFiles
from productive_k3s_infra.plan.requests import Situation, request_for
from productive_k3s_infra.validate.quick import expectation
from productive_k3s_infra.workspace import ansible_files
from productive_k3s_infra.workspace.ansible_files import AnsibleHost, AnsibleInventory, render_ansible, write_ansible
from static.ansible.worlds import inventory
from static.plan.clusters import BINARY, IMAGES, empty_host, situation, spec

GOLDEN = Path(__file__).parent / "golden"
USE_CASES = Path(__file__).resolve().parents[3] / "use-cases"
ADDRESSES = {"ONPREM_SERVER": "10.0.0.11", "ONPREM_AGENT_1": "10.0.0.21", "ONPREM_AGENT_2": "10.0.0.22"}
ENVIRONMENT = {**ADDRESSES, "MY_NETWORK": "203.0.113.7/32"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1sKp2b1Xo6WmQ0c9v5m7yq3tq4n2v0w8x6y4z2A1b3"
HOSTILE = ["0644", "yes", "Off", "012", "1e3", "1_000", "12:30:45", "2026-01-01", "~", "null", "", " a ", "a\nb", "é☃"]
TEMPLATES = ["{{ lookup('pipe', 'id') }}", "a{% raw %}b", "{# c #}", "{ {x} }"]


def files_of(name: str, key: Path) -> dict[str, bytes]:
    spec_of = load_cluster_file(USE_CASES / name / "cluster.yaml", {**ENVIRONMENT, "ONPREM_SSH_KEY": str(key)})
    found = build_inventory(spec_of, {node.name: place(spec_of, row) for row, node in enumerate(spec_of.nodes, 1)})
    facts = {host.name: empty_host(host.name, host.address) for host in found.hosts}
    files = ReleaseFiles(spec_of.k3s.version, "amd64", BINARY, (IMAGES,))
    seen = Situation(spec_of, found, facts, {"amd64": files})
    observation = Observation(found, Observed({}, {}), seen, Resolved(seen.files, {}))
    proof, wanted = known_hosts_text(found, f"* {KEY}\n"), expectation(spec_of, found)
    return render_ansible(ansible_inventory(observation, Program(b"program", "5" * 64), proof, wanted))


def place(spec_of: ClusterSpec, row: int) -> Location:
    """Return where a node is: as the file says, or as a provider that made its machine could say."""
    if spec_of.provider.kind == "onprem":
        return declared_location(spec_of, spec_of.nodes[row - 1])
    private, public = f"10.9.0.{row}", f"198.51.100.{row}"
    if spec_of.provider.kind == "aws":
        return Location(private, Endpoint(public, "ubuntu", host_keys=(KEY,)), public)
    return Location(private, Endpoint(private, host_keys=(KEY,)))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in USE_CASES.glob("*/cluster.yaml")))
def test_the_files_are_the_golden_ones(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    key = tmp_path / "key"
    key.write_text("a key")
    key.chmod(0o600)
    found = {path: content for path, content in files_of(name, key).items() if path.endswith((".yml", "hosts"))}
    texts = {path: content.decode().replace(str(key), "~/.ssh/id_ed25519") for path, content in found.items()}
    golden = GOLDEN / name
    if request.config.getoption("--golden"):
        for path, text in texts.items():
            (golden / path).parent.mkdir(parents=True, exist_ok=True)
            (golden / path).write_text(text)
    assert texts == {str(path.relative_to(golden)): path.read_text() for path in golden.rglob("*") if path.is_file()}


def read(content: bytes) -> Any:
    """Read YAML as Ansible does."""
    return json.loads(json.dumps(DataLoader().load(content.decode())))


def request_with(config: Any) -> Request:
    return Request("server", "v1.34.4+k3s1", config={"kubelet-arg": config}, labels={"a": "b"})


def written(request: Request) -> bytes:
    host = Host("server-1", "server", "10.0.0.11", Endpoint("10.0.0.11"))
    one = AnsibleInventory("edge", "server-1", (AnsibleHost(host, request),), {}, "", ("python3",), b"", b"", "5" * 64)
    return render_ansible(one)["host_vars/server-1.yml"]


@pytest.mark.parametrize("text", [*HOSTILE, *TEMPLATES])
def test_ansible_reads_the_very_text(text: str) -> None:
    request = request_with([text, {text or "k": text}])
    assert read(written(request))["remote_cluster_request"] == encode(request)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(deadline=None)  # the first call loads Ansible
@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_ansible_reads_whatever_was_written(value: Any) -> None:
    request = request_with(value)
    try:
        encoded = json.loads(json.dumps(encode(request)).encode("utf-8"))
        content = written(request)
    except (UnicodeEncodeError, yaml.YAMLError):
        return  # lone surrogates come from no cluster file
    assert read(content)["remote_cluster_request"] == encoded


def test_braces_are_no_template() -> None:
    for text in TEMPLATES[:3]:
        assert "!unsafe" in written(request_with(text)).decode()
    assert "!unsafe" not in written(request_with("{ {x} }")).decode()


def test_without_secrets_the_document_is_the_encoded_request() -> None:
    seen = situation(spec())
    for host in seen.inventory.hosts:
        request = request_for(seen, host)
        assert ansible_files.published(request) == (encode(request), ())


def test_a_secret_is_a_name_that_the_role_fills_in() -> None:
    secrets = Secrets({"HTTPS_PROXY": Secret("http://u:hunter2@p")}, {"reg:5000": {"password": Secret("hunter3")}})
    request = replace(request_with("x"), secrets=secrets)
    content = written(request).decode()
    assert "hunter" not in content
    document = read(content.encode())
    names = ["secrets.environment.HTTPS_PROXY", "secrets.registries.reg:5000.password"]
    assert document["remote_cluster_secret_names"] == names
    inner = document["remote_cluster_request"]["secrets"]
    assert inner["environment"]["HTTPS_PROXY"] == '{{ remote_cluster_secrets["secrets.environment.HTTPS_PROXY"] }}'
    assert inner["registries"]["reg:5000"]["password"] == f'{{{{ remote_cluster_secrets["{names[1]}"] }}}}'


def test_a_second_time_changes_no_byte_and_takes_away_who_left(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "inventory"
    two = inventory(situation(spec(2)))
    assert set(write_ansible(folder, two)) == set(render_ansible(two))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}
    (folder / "host_vars" / "own.yml").write_text("mine: true\n")
    (folder / "group_vars" / "cluster_edge.yml").write_text("mine: true\n")
    assert write_ansible(folder, two) == ()
    assert all((path.read_bytes(), path.stat().st_mtime_ns) == was for path, was in before.items())
    changed = set(write_ansible(folder, inventory(situation(spec(1)))))
    assert {"hosts.yml", "group_vars/all.yml", "host_vars/agent-2.yml"} == changed
    assert {path.name for path in (folder / "host_vars").iterdir()} == {"server-1.yml", "agent-1.yml", "own.yml"}
    assert (folder / "group_vars" / "cluster_edge.yml").exists()


def test_a_node_called_like_a_group_is_refused(tmp_path: Path) -> None:
    one = inventory(situation(spec(1)))
    renamed = tuple(replace(item, host=replace(item.host, name="servers")) for item in one.hosts[:1])
    with pytest.raises(BadInput) as caught:
        write_ansible(tmp_path / "inventory", replace(one, hosts=renamed))
    assert caught.value.code == "ansible.name"
    assert not (tmp_path / "inventory").exists()


def options(endpoint: Endpoint) -> list[str]:
    found = ansible_files._reached(endpoint)["ansible_ssh_common_args"].text
    return shlex.split(found.replace("{{ inventory_dir }}", "/the folder"))


def test_a_jump_host_is_reached_with_its_own_key_and_proof() -> None:
    jump = Endpoint("bastion.example", "gate", 2222, "/keys/50% a", (KEY,))
    found = options(Endpoint("10.0.0.11", "ops", 22, "/keys/own", (KEY,), jump))
    command = next(word for word in found if word.startswith("ProxyCommand=")).removeprefix("ProxyCommand=")
    words = shlex.split(command)
    assert words[0] == "ssh"
    assert words[-2:] == ["[%h]:%p", "bastion.example"]
    assert {"-l", "gate", "-p", "2222", "-W", "/keys/50%% a", "StrictHostKeyChecking=yes"} <= set(words)
    assert words.count('UserKnownHostsFile="/the folder/known_hosts"') == 1
    assert 'UserKnownHostsFile="/the folder/known_hosts"' in found
    assert "StrictHostKeyChecking=yes" in found


def test_keys_of_the_file_count_alone_where_every_host_has_them() -> None:
    jump = Endpoint("bastion.example", host_keys=(KEY,))
    hosts = [
        Host(f"n{port}", "server", "a", Endpoint("10.0.0.1", port=port, host_keys=(KEY,), jump=jump))
        for port in (22, 23)
    ]
    known = known_hosts_text(Inventory("edge", tuple(hosts)), "10.0.0.1 ssh-rsa AAAA\n")
    assert known == f"10.0.0.1 {KEY}\nbastion.example {KEY}\n[10.0.0.1]:23 {KEY}\n"
    bare = Host("bare", "agent", "b", Endpoint("10.0.0.3"))
    known = known_hosts_text(Inventory("edge", (*hosts, bare)), "10.0.0.3 ssh-rsa AAAA\n")
    assert known.endswith("10.0.0.3 ssh-rsa AAAA\n")
