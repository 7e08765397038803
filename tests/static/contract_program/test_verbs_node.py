"""`node`: cordon, uncordon, drain, remove and label, on virtual time over a scripted API."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import ClusterFacts, Facts, NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.kube_objects import OWN_CORDON, node_fact
from productive_k3s.k3s import paths
from productive_k3s.verbs import node as verb
from productive_k3s_infra.rehearse.system import SimulatedSystem
from static.contract_program.hosts import fresh, on_k3s


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "controller": True}
    return {
        "metadata": {"name": name, "namespace": "x", "ownerReferences": [owner], **metadata},
        "status": {"phase": "Running"},
    }


def node_document(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": "7", "annotations": {}, "managedFields": []}, "spec": {}}


class Cluster:
    """Two nodes; an evicted pod is gone after three seconds."""

    def __init__(self) -> None:
        self.system = SimulatedSystem()
        self.system.put({paths.ADMIN_KUBECONFIG: "x"})
        self.nodes = {
            name: NodeFact(name, name, True, True, (), "v1", "10.0.0.1", 0.0, labels={"a": "b"})
            for name in ("node-1", "node-2")
        }
        self.documents = {name: node_document(name) for name in self.nodes}
        self.running = [pod("web-1")]
        self.ending: dict[str, float] = {}
        self.budgets: dict[str, int] = {}
        self.calls: list[str] = []
        self.said: list[str] = []
        self.stop = ""
        self.meanwhile: Callable[[], None] | None = None

    def run(
        self, action: str, name: str = "node-1", timeout: float = 60.0, *, by_apply: bool = False, **labels: str | None
    ) -> Result:
        async def gather(_: Host) -> Facts:
            return on_k3s(fresh(), node_name="node-2")

        doors = Host(
            self.system,
            lambda _: self,  # type: ignore[arg-type,return-value]
            lambda _kind, message, _change="": self.said.append(message),
            lambda: self.stop,
        )
        return run_to_end(verb.run(doors, action, name, labels, timeout, by_apply=by_apply, gather=gather))

    def failure(self, action: str, **values: Any) -> Failure:
        with pytest.raises(ContractError) as caught:
            self.run(action, **values)
        return caught.value.failure

    async def cluster(self) -> ClusterFacts:
        return ClusterFacts(True, "", "v1", tuple(self.nodes.values()))

    async def node(self, name: str) -> NodeFact | None:
        return self.nodes.get(name)

    async def get(self, path: str) -> dict[str, Any]:
        return json.loads(json.dumps(self.documents.get(path.rpartition("/")[2], {})))

    async def patch_node(self, name: str, patch: dict[str, Any]) -> bool:
        if self.meanwhile is not None:
            self.meanwhile, meanwhile = None, self.meanwhile
            meanwhile()
        document = self.documents[name]
        if patch["metadata"]["resourceVersion"] != document["metadata"]["resourceVersion"]:
            return False
        self.written(name, patch, "productive-k3s")
        return True

    def written(self, name: str, patch: dict[str, Any], manager: str) -> None:
        """Merge a patch as the API does: it knows who wrote `spec.unschedulable` last, as long as that is there."""
        document = self.documents[name]
        metadata, spec = document["metadata"], document["spec"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        for key, text in patch.get("metadata", {}).get("annotations", {}).items():
            metadata["annotations"] = {**metadata["annotations"], key: text}
        metadata["annotations"] = {key: text for key, text in metadata["annotations"].items() if text is not None}
        if "unschedulable" in patch.get("spec", {}):
            cordoned = patch["spec"]["unschedulable"]
            if bool(cordoned) != bool(spec.get("unschedulable")):
                fields = {"f:spec": {"f:unschedulable": {}}}
                metadata["managedFields"] = [{"manager": manager, "fieldsV1": fields}] if cordoned else []
            spec["unschedulable"] = cordoned
            self.calls.append(f"cordon {name} {bool(cordoned)}")
        self.nodes[name] = replace(
            self.nodes[name],
            schedulable=node_fact(document).schedulable,
            own_cordon=node_fact(document).own_cordon,
        )

    def by_kubectl(self, name: str, *, cordoned: bool) -> None:
        """What `kubectl cordon` and `kubectl uncordon` write: nothing but the one field."""
        self.written(name, {"spec": {"unschedulable": True if cordoned else None}}, "kubectl")

    async def label_node(self, name: str, labels: dict[str, str | None]) -> None:
        self.calls.append(f"label {name} {labels}")

    async def delete_node(self, name: str) -> None:
        self.calls.append(f"delete {name}")
        del self.nodes[name]

    async def pods(self, namespace: str | None = None, node: str | None = None) -> tuple[dict[str, Any], ...]:
        assert (namespace, node) == (None, "node-1")
        now = self.system.clock.monotonic()
        self.running = [item for item in self.running if self.ending.get(item["metadata"]["name"], now + 1) > now]
        return tuple(self.running)

    async def evict(self, namespace: str, pod: str) -> str:
        self.calls.append(f"evict {namespace}/{pod}")
        if self.budgets.get(pod, 0) > 0:
            self.budgets[pod] -= 1
            return "budget web needs 2"
        self.ending[pod] = self.system.clock.monotonic() + 3.0
        for item in self.running:
            if item["metadata"]["name"] == pod:
                item["metadata"]["deletionTimestamp"] = "now"
        return ""


def test_cordon_and_uncordon_once() -> None:
    cluster = Cluster()
    assert [cluster.run(action).outcome for action in ("cordon", "cordon", "uncordon", "uncordon")] == [
        "done",
        "unchanged",
        "done",
        "unchanged",
    ]
    assert cluster.calls == ["cordon node-1 True", "cordon node-1 False"]


def test_whose_cordon_it_is_is_written_with_the_cordon() -> None:
    cluster = Cluster()
    assert cluster.run("cordon").outcome == "done"
    assert not cluster.nodes["node-1"].own_cordon
    assert cluster.run("uncordon").outcome == "done"
    assert cluster.run("cordon", by_apply=True).outcome == "done"
    assert cluster.nodes["node-1"].own_cordon
    assert cluster.documents["node-1"]["metadata"]["annotations"] == {OWN_CORDON: "apply"}
    assert cluster.run("uncordon", by_apply=True).notes == ("node-1 takes new pods",)
    assert cluster.documents["node-1"]["metadata"]["annotations"] == {}
    assert cluster.nodes["node-1"].schedulable


@pytest.mark.parametrize("how", ["verb", "kubectl"])
def test_an_apply_drains_what_a_person_cordoned_and_leaves_it_cordoned(how: str) -> None:
    cluster = Cluster()
    if how == "verb":
        cluster.run("cordon")
    else:
        cluster.by_kubectl("node-1", cordoned=True)
    assert cluster.run("drain", by_apply=True).outcome == "done"
    assert "evict x/web-1" in cluster.calls
    lifted = cluster.run("uncordon", by_apply=True)
    assert (lifted.outcome, lifted.notes) == (
        "unchanged",
        ("node-1 stays cordoned: a person cordoned it",),
    )
    assert not cluster.nodes["node-1"].schedulable
    assert cluster.run("uncordon").outcome == "done"
    assert cluster.nodes["node-1"].schedulable


def test_a_person_lifts_an_applys_cordon_and_may_take_it_over() -> None:
    cluster = Cluster()
    cluster.run("drain", by_apply=True)
    assert cluster.run("cordon").outcome == "done"
    assert cluster.run("uncordon", by_apply=True).outcome == "unchanged"
    assert not cluster.nodes["node-1"].schedulable
    cluster.run("uncordon")
    cluster.run("drain", by_apply=True)
    assert cluster.run("uncordon").outcome == "done"
    assert cluster.documents["node-1"]["metadata"]["annotations"] == {}


def test_an_old_note_makes_nobodys_cordon_an_applys() -> None:
    """kubectl leaves the note where it lifts an apply's cordon; what it cordons later is a person's."""
    cluster = Cluster()
    cluster.run("cordon", by_apply=True)
    cluster.by_kubectl("node-1", cordoned=False)
    cluster.by_kubectl("node-1", cordoned=True)
    assert OWN_CORDON in cluster.documents["node-1"]["metadata"]["annotations"]
    assert not cluster.nodes["node-1"].own_cordon
    assert cluster.run("uncordon", by_apply=True).outcome == "unchanged"
    assert not cluster.nodes["node-1"].schedulable
    assert cluster.documents["node-1"]["metadata"]["annotations"] == {}


def test_a_cordon_that_comes_in_between_stays_a_persons() -> None:
    cluster = Cluster()
    cluster.meanwhile = lambda: cluster.by_kubectl("node-1", cordoned=True)
    assert cluster.run("drain", by_apply=True).outcome == "done"
    assert not cluster.nodes["node-1"].own_cordon
    assert cluster.documents["node-1"]["metadata"]["annotations"] == {}


def test_an_apply_is_said_of_cordons_alone() -> None:
    cluster = Cluster()
    doors = Host(cluster.system, lambda _: cluster, lambda *_: None)  # type: ignore[arg-type,return-value]
    for words in (["remove", "node-1"], ["label", "node-1", "c=d"], ["taint", "node-1", "c=d:NoExecute"]):
        flags = parser().parse_args(["node", *words, "--by-apply"])
        with pytest.raises(ContractError) as caught:
            run_to_end(flags.function(doors, flags))
        assert caught.value.failure.code == "request.flag"
    flags = parser().parse_args(["node", "cordon", "node-1", "--by-apply"])
    assert run_to_end(flags.function(doors, flags)).outcome == "done"
    assert cluster.nodes["node-1"].own_cordon


def test_labels_that_differ_are_set() -> None:
    cluster = Cluster()
    assert cluster.run("label", a="b", gone=None).outcome == "unchanged"
    assert cluster.run("label", a=None, c="d").outcome == "done"
    assert cluster.calls == ["label node-1 {'a': None, 'c': 'd'}"]
    assert cluster.run("label").failures[0].exit_code == 2


def test_remove_once_and_never_its_own_node() -> None:
    cluster = Cluster()
    assert [cluster.run("remove").outcome for _ in range(2)] == ["done", "unchanged"]
    own = cluster.run("remove", "node-2")
    assert (own.outcome, own.failures[0].code, own.failures[0].exit_code) == ("refused", "node.own", 4)
    assert cluster.calls == ["delete node-1"]


def test_a_node_that_is_unknown() -> None:
    cluster = Cluster()
    found = cluster.run("drain", "node-3").failures[0]
    assert (found.code, found.evidence, found.exit_code) == ("kube.no-node", "nodes: node-1, node-2", 2)


def test_only_a_server_acts_on_nodes() -> None:
    cluster = Cluster()
    cluster.system = SimulatedSystem()
    assert cluster.run("cordon").failures[0].code == "k3s.no-server"


def test_a_drain_evicts_what_can_live_elsewhere() -> None:
    cluster = Cluster()
    cluster.running = [
        pod("web-1"),
        pod("daemon", ownerReferences=[{"kind": "DaemonSet", "controller": True}]),
        pod("static", annotations={"kubernetes.io/config.mirror": "x"}),
        {**pod("job"), "status": {"phase": "Succeeded"}},
        pod("ending", deletionTimestamp="now"),
        pod("alone", ownerReferences=None),
    ]
    cluster.ending["ending"] = 5.0
    result = cluster.run("drain")
    assert result.outcome == "done"
    assert cluster.calls == ["cordon node-1 True", "evict x/web-1", "evict x/alone"]
    assert result.notes == ("node-1 is drained, and takes no new pods", "nothing recreates these pods: x/alone")
    assert result.data == {"evicted": 2, "alone": ["x/alone"]}
    assert cluster.system.clock.monotonic() == 5.0
    assert cluster.run("drain").outcome == "unchanged"


def test_a_drain_waits_for_a_budget() -> None:
    cluster = Cluster()
    cluster.budgets["web-1"] = 4
    assert cluster.run("drain").outcome == "done"
    assert cluster.said[0] == "1 pods are still there; x/web-1: budget web needs 2"
    assert cluster.calls.count("evict x/web-1") == 5


def test_a_budget_that_never_allows_it_is_the_cause() -> None:
    cluster = Cluster()
    cluster.budgets["web-1"] = 1000
    found = cluster.failure("drain", timeout=10.0)
    assert (found.code, found.evidence, found.exit_code) == ("node.drain-blocked", "x/web-1: budget web needs 2", 5)
    assert "it stays cordoned" in found.what
    assert found.remedy.endswith("; or uncordon node-1")
    assert not cluster.nodes["node-1"].schedulable
    assert cluster.system.clock.monotonic() == 10.0


def test_pods_that_do_not_end_are_the_cause() -> None:
    cluster = Cluster()
    cluster.running = [pod("stuck", deletionTimestamp="now")]
    assert cluster.failure("drain").code == "node.drain-timeout"
    cluster.nodes["node-1"] = replace(cluster.nodes["node-1"], ready=False)
    found = cluster.failure("drain")
    assert (found.code, found.evidence) == ("node.not-ready", "node-1 is not Ready, so nothing there can end x/stuck")


def test_a_drain_hears_who_asks_it_to_stop() -> None:
    cluster = Cluster()
    cluster.stop = "SIGTERM"
    assert cluster.failure("drain").exit_code == 130


def test_labels_as_they_are_typed() -> None:
    cluster = Cluster()
    flags = parser().parse_args(["node", "label", "node-1", "c=d", "a-"])
    doors = Host(cluster.system, lambda _: cluster, lambda *_: None)  # type: ignore[arg-type,return-value]
    assert run_to_end(flags.function(doors, flags)).outcome == "done"
    assert cluster.calls == ["label node-1 {'c': 'd', 'a': None}"]
