"""What comes out of a cluster file without mistakes, and that nothing else than ClusterFileInvalid ever does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from productive_k3s.k3s import flags
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.cluster_file.mistake import Mistake
from productive_k3s_infra.cluster_file.model import ClusterSpec, Jump, LocalProvider, OnpremProvider, Rollout
from productive_k3s_infra.cluster_file.shape import keys_at
from productive_k3s_infra.errors import ClusterFileInvalid
from static.cluster_file.files import HOST_KEY, surround

SPEC_PATHS = (
    ("spec", "ssh"),
    ("spec", "ssh", "jump"),
    ("spec", "k3s"),
    ("spec", "k3s", "artifacts"),
    ("spec", "nodes", 0),
    ("spec", "nodes", 0, "ssh"),
)
ROOT = Path(__file__).resolve().parents[3]
CASES = Path(__file__).parent / "cases"
PLACES = sorted({key for path in ((), ("spec",), *SPEC_PATHS) for key in keys_at(path)})

# How long a text takes is no question here, and the machine may be busy.
SHORT = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FULL = f"""
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {{name: edge}}
spec:
  provider: {{kind: onprem}}
  ssh:
    user: ops
    port: ${{PORT}}
    key: keys/good
    jump: "gate@[fd00::9]:2200"
  k3s:
    version: v1.36.4+k3s1
    artifacts: {{source: release-directory, delivery: push}}
    datastore: sqlite
    tlsSan: [k3s.example, 192.0.2.1]
    server:
      disable: [traefik]
      https-listen-port: "${{API:-7443}}"
      debug: ${{DEBUG:-true}}
      l: "$${{PORT}}"
      etcd-snapshot-dir: "/backup/${{PORT}}"
    agent: {{kubelet-arg: [max-pods=110], v: 2}}
    files: {{audit.yaml: notes.txt}}
  rollout: {{batch: "40%", drain: true}}
  nodes:
    - name: server-1
      role: ${{ROLE:-server}}
      address: ${{ADDRESS}}
      hostKey: {HOST_KEY}
    - name: agent-1
      role: agent
      address: agent-1.example
      hostKey: ["{HOST_KEY}"]
      labels: {{disk: ssd, rack: "${{PORT}}"}}
      taints: ["dedicated=gpu:NoSchedule"]
      k3s: {{kubelet-arg: ["max-pods=${{PODS:-200}}"], v: "${{V:-4}}", files: {{extra.yaml: ~/extra.yaml}}}}
      ssh:
        address: 192.0.2.21
        port: 22
        jump: {{address: bastion.example, key: ~/.ssh/id_ed25519, hostKey: {HOST_KEY}}}
"""

LOCAL = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  provider: {kind: local}
  k3s: {version: v1.36.4+k3s1}
  nodes:
    - {name: server-1, role: server}
    - {name: agent, role: agent, count: 2, labels: {disk: ssd}, taints: ["a:NoExecute"]}
    - {name: one, role: agent, count: 1}
"""


def load(folder: Path, text: str | bytes, environment: Mapping[str, str]) -> ClusterSpec:
    file = folder / "cluster.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_cluster_file(file, environment)


def mistakes(folder: Path, text: str | bytes) -> tuple[Mistake, ...]:
    with pytest.raises(ClusterFileInvalid) as caught:
        load(folder, text, {})
    return cast("tuple[Mistake, ...]", caught.value.mistakes)


def test_every_key_arrives_in_the_spec(tmp_path: Path) -> None:
    spec = load(tmp_path, FULL, surround(tmp_path))
    assert spec.provider == OnpremProvider(kind="onprem")
    assert (spec.name, spec.ssh.user, spec.ssh.port, spec.warnings) == ("edge", "ops", 2222, ())
    assert spec.ssh.key == str(tmp_path / "keys/good")
    assert spec.ssh.jump == Jump(address="fd00::9", user="gate", port=2200)
    assert spec.k3s.artifacts.source == str(tmp_path / "release-directory")
    assert (spec.k3s.artifacts.delivery, spec.k3s.datastore) == ("push", "sqlite")
    assert spec.k3s.tls_san == ("k3s.example", "192.0.2.1")
    server, agent = spec.nodes
    assert (server.name, server.role, server.address, server.host_key) == (
        "server-1",
        "server",
        "10.0.0.11",
        (HOST_KEY,),
    )
    assert (agent.labels, agent.taints) == ({"disk": "ssd", "rack": "2222"}, ("dedicated=gpu:NoSchedule",))
    assert (agent.ssh.address, agent.ssh.port) == ("192.0.2.21", 22)
    home_key = str(tmp_path / "home/.ssh/id_ed25519")
    assert agent.ssh.jump == Jump(address="bastion.example", key=home_key, host_key=(HOST_KEY,))


def test_a_node_has_flags_and_files_of_its_own_over_the_common_ones(tmp_path: Path) -> None:
    environment = surround(tmp_path)
    spec = load(tmp_path, FULL, environment)
    server, agent = spec.nodes
    assert spec.rollout == Rollout(batch="40%", drain=True)
    assert spec.flags_of(server) == spec.k3s.server
    assert spec.flags_of(agent) == {"kubelet-arg": ["max-pods=200"], "v": 4}
    assert spec.files_of(server) == {"audit.yaml": "kind: Policy\n"}
    assert spec.files_of(agent) == {"audit.yaml": "kind: Policy\n", "extra.yaml": "more: true\n"}


def test_no_key_is_known_by_its_name_in_python(tmp_path: Path) -> None:
    found = mistakes(tmp_path, LOCAL.replace("k3s: {", "hosts_file: true\n  k3s: {tls_san: [x], "))
    assert [(item.code, item.remedy) for item in found] == [
        ("file.unknown-key", "did you mean 'hostsFile'?"),
        ("file.unknown-key", "did you mean 'tlsSan'?"),
    ]


def test_no_secret_is_shown_by_the_spec(tmp_path: Path) -> None:
    registries = '{configs: {mirror.example: {auth: {username: ops, password: "${SECRET}"}}}}'
    k3s = f'k3s: {{registries: {registries}, proxy: {{http: "http://ops:${{SECRET}}@proxy.example"}}, '
    spec = load(tmp_path, LOCAL.replace("k3s: {", k3s), {"SECRET": "hunter2"})
    assert spec.k3s.registry_secrets["mirror.example"]["password"].get_secret_value() == "hunter2"
    assert spec.k3s.open_registries == {"configs": {"mirror.example": {"auth": {"username": "ops"}}}}
    assert "hunter2" not in f"{spec!r}{spec}{spec.model_dump()}{spec.model_dump_json()}"


def test_a_variable_has_the_type_that_its_place_wants(tmp_path: Path) -> None:
    server = load(tmp_path, FULL, surround(tmp_path)).k3s.server
    assert server == {
        "disable": ["traefik"],
        "https-listen-port": 7443,
        "debug": True,
        "log": "${PORT}",
        "etcd-snapshot-dir": "/backup/2222",
    }
    assert {type(value) for value in server.values()} == {list, int, bool, str}


def test_a_count_becomes_numbered_nodes(tmp_path: Path) -> None:
    spec = load(tmp_path, LOCAL, {})
    assert spec.provider == LocalProvider(kind="local")
    assert [node.name for node in spec.nodes] == ["server-1", "agent-1", "agent-2", "one-1"]
    assert [node.labels for node in spec.nodes[1:3]] == [{"disk": "ssd"}] * 2
    assert [node.taints for node in spec.nodes[1:3]] == [("a:NoExecute",)] * 2


def test_a_newer_version_is_a_remark_and_lets_unknown_flags_through(tmp_path: Path) -> None:
    text = LOCAL.replace("{version: v1.36.4+k3s1}", "{version: v9.1.0+k3s1, server: {brand-new: 1}}")
    spec = load(tmp_path, text, {})
    assert spec.k3s.server == {"brand-new": 1}
    assert len(spec.warnings) == 1
    assert spec.warnings[0].startswith(f"{tmp_path}/cluster.yaml:7:18: v9.1.0+k3s1 is newer than the flags known here")


@pytest.mark.parametrize(
    ("version", "is_past"), [("v1.33.9+k3s1", True), ("v1.34.4+k3s1", True), ("v1.35.1+k3s1", False)]
)
def test_a_version_past_its_end_of_life_is_a_remark_and_can_be_planned(
    tmp_path: Path, version: str, *, is_past: bool
) -> None:
    spec = load(tmp_path, LOCAL.replace("v1.36.4+k3s1", version), {})
    assert spec.k3s.version == version
    said = [line for line in spec.warnings if "has reached its end of life" in line]
    assert [line.startswith(f"{tmp_path}/cluster.yaml:7:18: Kubernetes 1.") for line in said] == [True] * is_past


def test_what_has_no_effect_is_a_remark(tmp_path: Path) -> None:
    text = LOCAL.replace("  k3s:", "  ssh: {user: ops}\n  k3s:").replace("count: 1", "ssh: {user: x}")
    lines = [warning.split(":")[1] for warning in load(tmp_path, text, {}).warnings]
    assert lines == ["7", "12"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(ClusterFileInvalid) as caught:
            load_cluster_file(path, {})
        (mistake,) = cast("tuple[Mistake, ...]", caught.value.mistakes)
        assert (mistake.code, caught.value.exit_code) == ("file.unreadable", 2)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, b"apiVersion: x\nkind: \xff\n")
    assert (mistake.line, mistake.column, mistake.code) == (2, 7, "file.encoding")
    (mistake,) = mistakes(tmp_path, LOCAL.encode("utf-16"))
    assert (mistake.line, mistake.column, mistake.code) == (1, 1, "file.encoding")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load(tmp_path, LOCAL.encode("utf-8-sig"), {}).name == "edge"
    first = max(mistakes(tmp_path, "kind: x".encode("utf-8-sig")), key=lambda item: item.column)
    assert (first.line, first.column) == (1, 7)


def test_a_key_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = surround(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(ClusterFileInvalid) as caught:
        load(tmp_path, FULL, environment)
    found = cast("tuple[Mistake, ...]", caught.value.mistakes)
    assert {(item.code, item.what.rpartition(": ")[2]) for item in found} == {("file.key", "Permission denied")}


def test_anchors_cannot_blow_a_file_up(tmp_path: Path) -> None:
    bombs = "".join(f"a{index}: &a{index} [{', '.join([f'*a{index - 1}'] * 9)}]\n" for index in range(1, 6))
    (mistake,) = mistakes(tmp_path, f"a0: &a0 [x]\n{bombs}")
    assert mistake.code == "file.syntax"
    (mistake,) = mistakes(tmp_path, "[" * 5000)
    assert mistake.code == "file.syntax"


def test_anchors_that_are_no_bombs_are_read(tmp_path: Path) -> None:
    text = LOCAL.replace("{disk: ssd}", "&l {disk: ssd}").replace("count: 1", "count: 1, labels: *l")
    assert load(tmp_path, text, {}).nodes[3].labels == {"disk": "ssd"}


@pytest.mark.parametrize("use_case", ["local", "onprem-basic"])
def test_the_use_cases_load_in_the_environment_of_their_readme(use_case: str, tmp_path: Path) -> None:
    folder = ROOT / "use-cases" / use_case
    readme = (folder / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\b(ONPREM_\w+)=(\S+)", readme)
    environment = {**surround(tmp_path), **dict(named)}
    spec = load_cluster_file(folder / "cluster.yaml", environment)
    assert [node.role for node in spec.nodes] == ["server", "agent", "agent"]
    assert spec.warnings == ()
    assert not named or [node.address for node in spec.nodes] == [value for _, value in named]


def _never_fails_otherwise(folder: Path, text: str | bytes, environment: Mapping[str, str]) -> None:
    found: tuple[object, ...] | None = None
    try:
        load(folder, text, environment)
    except ClusterFileInvalid as error:
        found = error.mistakes
    assert found != ()
    for mistake in cast("tuple[Mistake, ...]", found or ()):
        assert len(str(mistake).encode().splitlines()) == 1
        assert mistake.line >= 1
        assert mistake.column >= 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file")
    surround(path)
    return path


@SHORT
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_no_text_whatever_fails_otherwise(content: bytes, folder: Path) -> None:
    _never_fails_otherwise(folder, content, {})


_YAML_LETTERS = st.text(alphabet="abk1:-,.#&*!|>'\"%@`{}[]()?~<=$/\\ \n\t\r\u0085\u2028\ufeff\0\u00e9e+_", max_size=80)


@SHORT
@given(text=_YAML_LETTERS)
def test_no_near_yaml_fails_otherwise(text: str, folder: Path) -> None:
    _never_fails_otherwise(folder, text, {"a": "b"})


@SHORT
@given(
    case=st.sampled_from(sorted([*CASES.glob("*.yaml"), *ROOT.glob("use-cases/*/cluster.yaml")])),
    at=st.integers(min_value=0, max_value=1000),
    length=st.integers(min_value=0, max_value=30),
    put=_YAML_LETTERS | st.sampled_from(["null", "${X}", "[]", "{}", "1e999", "!!int x", "\\ud800", '"\\uD800"', "-1"]),
)
def test_no_damaged_file_fails_otherwise(case: Path, at: int, length: int, put: str, folder: Path) -> None:
    text = case.read_text(encoding="utf-8")
    at %= len(text) + 1
    _never_fails_otherwise(folder, text[:at] + put + text[at + length :], {"X": "y\nz", "HOME": "/nowhere"})


_KEYS = st.sampled_from(["apiVersion", "kind", "metadata", "disable", "cluster-cidr", "service-cidr", *PLACES])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | _KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)


@SHORT
@given(
    spec=st.fixed_dictionaries({}, optional=dict.fromkeys(("nodes", "k3s", "ssh", "provider"), _VALUES)),
    top=st.dictionaries(_KEYS, _VALUES, max_size=3),
)
def test_no_wrong_shape_fails_otherwise(spec: dict[str, object], top: dict[str, object], folder: Path) -> None:
    _never_fails_otherwise(folder, json.dumps({**top, "spec": spec}), {})


_NODES = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(keys_at(("spec", "nodes", 0)), _VALUES)), min_size=1, max_size=3
)
_FLAGS = st.dictionaries(st.sampled_from(sorted(flags.table().flags)) | st.text(max_size=8), _VALUES, max_size=4)


@SHORT
@given(nodes=_NODES, server=_FLAGS, version=_VALUES)
def test_no_wrong_value_fails_otherwise(nodes: object, server: object, version: object, folder: Path) -> None:
    spec = {
        "nodes": nodes,
        "k3s": {"server": server, "agent": server, "version": version},
        "provider": {"kind": "local"},
    }
    _never_fails_otherwise(folder, json.dumps({"spec": spec}), {})
