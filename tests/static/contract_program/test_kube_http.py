"""The real door to the API, against a tiny API with certificates shaped like K3s'."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import run_to_end
from productive_k3s.doors.kube import Kube
from productive_k3s.doors.kube_http import HttpKube
from productive_k3s.doors.kube_objects import node_fact, unix_seconds
from productive_k3s.doors.kubeconfig import read_access, tls_context
from static.contract_program.api_server import ApiServer, authority

NODE: dict[str, Any] = {
    "metadata": {
        "name": "node-1",
        "uid": "u1",
        "labels": {"node-role.kubernetes.io/etcd": "true", "node-role.kubernetes.io/control-plane": "true", "a": "b"},
    },
    "spec": {
        "podCIDR": "10.42.0.0/24",
        "unschedulable": True,
        "taints": [{"key": "k", "value": "v", "effect": "NoExecute"}, {"key": "bare", "effect": "NoSchedule"}],
    },
    "status": {
        "nodeInfo": {"kubeletVersion": "v1.34.4+k3s1"},
        "addresses": [{"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": "10.0.0.11"}],
        "conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2027-01-15T07:00:00Z"},
            {"type": "EtcdIsVoter", "status": "True"},
        ],
    },
}
LEASE = {"metadata": {"name": "node-1"}, "spec": {"renewTime": "2027-01-15T07:59:50.500000Z"}}
RENEWED = 1_800_000_000.0 - 9.5


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture(params=["embedded", "files"])
def kube(request: pytest.FixtureRequest, api: ApiServer) -> Iterator[HttpKube]:
    door = HttpKube(api.kubeconfig(embedded=request.param == "embedded"), timeout=10.0)
    yield door
    door.close()


@contextlib.contextmanager
def opened(kubeconfig: str, timeout: float = 10.0) -> Iterator[HttpKube]:
    door = HttpKube(kubeconfig, timeout=timeout)
    try:
        yield door
    finally:
        door.close()


def cause(door: HttpKube) -> Failure:
    with pytest.raises(ContractError) as caught:
        run_to_end(door.get("/x"))
    return caught.value.failure


def target(link: Path) -> str:
    """Where a descriptor leads, '' once it is closed."""
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_nothing_is_read_before_the_first_call(tmp_path: Path) -> None:
    with opened(str(tmp_path / "k3s.yaml")) as door:
        fits: Kube = door
        assert fits is door
        assert cause(door).code == "kube.kubeconfig"


def test_a_node_with_its_lease(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda asked: (200, LEASE if "kube-node-lease" in asked.path else NODE)
    found = run_to_end(kube.node("node-1"))
    assert found
    assert (found.name, found.uid, found.ready, found.schedulable) == ("node-1", "u1", True, False)
    assert found.roles == ("control-plane", "etcd")
    assert (found.version, found.internal_ip, found.pod_cidr) == ("v1.34.4+k3s1", "10.0.0.11", "10.42.0.0/24")
    assert found.taints == ("k=v:NoExecute", "bare:NoSchedule")
    assert found.etcd_voter is True
    assert found.heartbeat == RENEWED
    assert {asked.client for asked in api.asked} == {"system:node:node-1"}
    assert len({asked.connection for asked in api.asked}) == 1


def test_the_heartbeat_is_the_newer_of_two() -> None:
    assert node_fact(NODE, None).heartbeat == 1_800_000_000.0 - 3600
    older = {"spec": {"renewTime": "2020-01-01T00:00:00Z"}}
    assert node_fact(NODE, older).heartbeat == 1_800_000_000.0 - 3600
    assert unix_seconds("garbage") == unix_seconds(None) == 0.0


def test_a_node_that_has_just_registered() -> None:
    bare = node_fact({"metadata": {"name": "n"}, "spec": {}, "status": {}})
    assert bare.own_labels == ()
    ours = {"manager": "productive-k3s", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:x.example/disk": {}}}}}
    theirs = {"manager": "kubectl-label", "fieldsV1": {"f:metadata": {"f:labels": {"f:zone": {}}}}}
    cordoned = {"manager": "productive-k3s", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}
    managed = node_fact({"metadata": {"name": "n", "managedFields": [theirs, ours, cordoned]}})
    assert managed.own_labels == ("x.example/disk",)
    assert (bare.ready, bare.schedulable, bare.etcd_voter, bare.heartbeat) == (False, True, None, 0.0)
    assert node_fact({"status": {"conditions": None, "addresses": None}, "spec": {"taints": None}}).taints == ()


def test_a_kubelet_may_not_see_leases_everywhere(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda asked: (403, {"message": "forbidden"}) if "lease" in asked.path else (200, NODE)
    found = run_to_end(kube.node("node-1"))
    assert found
    assert found.heartbeat == 1_800_000_000.0 - 3600


def test_a_node_that_is_missing(api: ApiServer, kube: HttpKube) -> None:
    assert run_to_end(kube.node("node-1")) is None
    assert run_to_end(kube.get("/api/v1/nodes/node-1")) == {}
    run_to_end(kube.delete_node("node-1"))
    assert [asked.method for asked in api.asked] == ["GET", "GET", "DELETE"]


def test_the_cluster(api: ApiServer, kube: HttpKube) -> None:
    pages = {
        "/version": {"gitVersion": "v1.34.4+k3s1"},
        "/api/v1/nodes?limit=500": {"items": [NODE], "metadata": {"continue": "more"}},
        "/api/v1/nodes?limit=500&continue=more": {"items": [{"metadata": {"name": "node-2"}}]},
    }
    api.respond = lambda asked: (200, pages.get(asked.path, {"items": [LEASE]}))
    found = run_to_end(kube.cluster())
    assert (found.reachable, found.version) == (True, "v1.34.4+k3s1")
    assert [(node.name, node.heartbeat) for node in found.nodes] == [("node-1", RENEWED), ("node-2", 0.0)]
    assert len({asked.connection for asked in api.asked}) == 1


def test_a_cluster_that_does_not_answer_is_a_fact(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda _: (503, "etcd is away")
    found = run_to_end(kube.cluster())
    assert not found.reachable
    assert found.evidence == "GET /version: HTTP 503: etcd is away"


def test_readiness(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda _: (200, "ok")
    assert run_to_end(kube.readiness()) == ""
    api.respond = lambda _: (500, "[+]ping ok\n[-]etcd failed: reason withheld\n")
    assert run_to_end(kube.readiness()) == "HTTP 500: [+]ping ok [-]etcd failed: reason withheld"


def test_what_changes_something(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda _: (201, {"kind": "Status"})
    run_to_end(kube.label_node("node-1", {"a": "b", "gone": None}))
    assert run_to_end(kube.patch_node("node-1", {"spec": {"unschedulable": True}}))
    run_to_end(kube.apply("/api/v1/namespaces/x", {"kind": "Namespace"}))
    assert run_to_end(kube.evict("x", "pod-1")) == ""
    run_to_end(kube.delete("/api/v1/namespaces/x"))
    merge = "application/merge-patch+json"
    said = [(asked.method, asked.path, asked.content_type, asked.document) for asked in api.asked]
    assert said == [
        (
            "PATCH",
            "/api/v1/nodes/node-1?fieldManager=productive-k3s",
            merge,
            {"metadata": {"labels": {"a": "b", "gone": None}}},
        ),
        ("PATCH", "/api/v1/nodes/node-1?fieldManager=productive-k3s", merge, {"spec": {"unschedulable": True}}),
        (
            "PATCH",
            "/api/v1/namespaces/x?fieldManager=productive-k3s&force=true",
            "application/apply-patch+yaml",
            {"kind": "Namespace"},
        ),
        (
            "POST",
            "/api/v1/namespaces/x/pods/pod-1/eviction",
            "application/json",
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod-1", "namespace": "x"}},
        ),
        ("DELETE", "/api/v1/namespaces/x", "", None),
    ]


def test_an_eviction_that_a_budget_forbids(api: ApiServer, kube: HttpKube) -> None:
    status = {"message": "Cannot evict pod", "details": {"causes": [{"message": "budget web needs 2"}]}}
    api.respond = lambda _: (429, status)
    assert run_to_end(kube.evict("x", "pod-1")) == "Cannot evict pod; budget web needs 2"
    api.respond = lambda _: (404, {})
    assert run_to_end(kube.evict("x", "pod-1")) == ""


def test_pods_of_a_node(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda _: (200, {"items": [{"metadata": {"name": "p"}}]})
    assert [pod["metadata"]["name"] for pod in run_to_end(kube.pods("kube-system", "node-1"))] == ["p"]
    assert run_to_end(kube.pods())
    assert [asked.path for asked in api.asked] == [
        "/api/v1/namespaces/kube-system/pods?limit=500&fieldSelector=spec.nodeName%3Dnode-1",
        "/api/v1/pods?limit=500",
    ]


@pytest.mark.parametrize(
    ("status", "document", "code"),
    [
        (403, {"message": "nodes is forbidden"}, "kube.refused"),
        (401, {"message": "Unauthorized"}, "kube.refused"),
        (500, "no leader", "kube.unavailable"),
        (429, {"message": "too many"}, "kube.unavailable"),
        (200, "<html>", "kube.refused"),
        (200, [], "kube.refused"),
    ],
)
def test_what_the_api_refuses(api: ApiServer, kube: HttpKube, status: int, document: Any, code: str) -> None:
    api.respond = lambda _: (status, document)
    found = cause(kube)
    assert found.code == code
    assert found.evidence.startswith(f"GET /x: HTTP {status}: ")


def test_a_connection_that_was_closed_while_idle_is_opened_again(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda _: (200, {})
    run_to_end(kube.get("/x"))
    api.drop_next = True
    assert run_to_end(kube.get("/y")) == {}
    assert [asked.path for asked in api.asked] == ["/x", "/y", "/y"]


def test_a_change_is_never_repeated_by_itself(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda _: (200, {})
    run_to_end(kube.get("/x"))
    api.drop_next = True
    with pytest.raises(ContractError) as caught:
        run_to_end(kube.patch_node("node-1", {"spec": {"unschedulable": True}}))
    assert caught.value.failure.code == "kube.unreachable"
    assert [asked.method for asked in api.asked] == ["GET", "PATCH"]
    assert run_to_end(kube.get("/z")) == {}


def test_another_clusters_certificate(api: ApiServer) -> None:
    with opened(api.kubeconfig(embedded=True, ca=authority("k3s-server-ca@2"))) as door:
        assert cause(door).code == "kube.certificate"
    assert api.asked == []


def test_a_certificate_for_another_address(tmp_path: Path) -> None:
    server = ApiServer(tmp_path, address="10.0.0.99")
    try:
        with opened(server.kubeconfig(embedded=True)) as door:
            found = cause(door)
        assert found.code == "kube.certificate"
        assert "127.0.0.1" in found.evidence
    finally:
        server.stop()


def test_nobody_answers(api: ApiServer) -> None:
    path = api.kubeconfig(embedded=True)
    Path(path).write_text(Path(path).read_text().replace(f":{api.server_port}", ":1"))
    with opened(path) as door:
        found = cause(door)
    assert (found.code, found.evidence) == ("kube.unreachable", "https://127.0.0.1:1: [Errno 111] Connection refused")


def test_somebody_is_silent(api: ApiServer) -> None:
    path = api.kubeconfig(embedded=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        text = Path(path).read_text().replace(f":{api.server_port}", f":{silent.getsockname()[1]}")
        Path(path).write_text(text)
        with opened(path, timeout=0.2) as door:
            found = cause(door)
    assert found.code == "kube.unreachable"
    assert found.evidence.endswith("no answer in time")


def test_the_key_is_in_no_file_and_in_no_text(api: ApiServer, kube: HttpKube) -> None:
    api.respond = lambda _: (200, {})
    before = set(api.folder.iterdir())
    run_to_end(kube.get("/x"))
    kube.close()
    assert set(api.folder.iterdir()) == before
    assert [name for name in map(target, Path("/proc/self/fd").iterdir()) if "memfd:productive-k3s" in name] == []
    access = read_access(str(api.folder / "kubeconfig.yaml"))
    assert "KEY" not in repr(access)
    assert not tls_context(access).verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("current-context: default", "current-context: other"),
        ("https://", "http://"),
        ("current-context: default", "current-context: ["),
        ("certificate-authority-data: LS0", "certificate-authority-data: '%%'#"),
        ("users:", "persons:"),
        ("client-key-data", "client-token"),
    ],
)
def test_a_kubeconfig_that_is_of_no_use(api: ApiServer, old: str, new: str) -> None:
    path = Path(api.kubeconfig(embedded=True))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with opened(str(path)) as door:
        found = cause(door)
    assert found.code == "kube.kubeconfig"
    assert "LS0" not in found.evidence


def test_a_ca_that_is_no_certificate(api: ApiServer) -> None:
    path = Path(api.kubeconfig(embedded=False))
    (api.folder / "certificate-authority.pem").write_text("nothing")
    with opened(str(path)) as door:
        assert cause(door).code == "kube.certificate"
    (api.folder / "client-key.pem").unlink()
    with opened(str(path)) as door:
        assert cause(door).code == "kube.kubeconfig"
