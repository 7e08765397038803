"""`validate` on virtual time, with a cluster in a dictionary: waits, verdicts, and nothing left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from productive_k3s.__main__ import exit_code
from productive_k3s.checks import trial_objects
from productive_k3s.contract.codec import encode
from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.expectation import Expectation, ExpectedNode
from productive_k3s.contract.facts import ClusterFacts, Facts, NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.questions import Question, command_of
from productive_k3s.doors.system import Completed, HttpResponse
from productive_k3s.effects import passed
from productive_k3s.k3s import paths
from productive_k3s.verbs import validate
from static.contract_program.hosts import VERSION, on_k3s
from static.contract_program.test_checks_cluster import AGENT, DNS, SERVER, pod
from static.contract_program.test_checks_host import healthy

NAME = "productive-k3s-validate-test"
IMAGE = "docker.io/rancher/mirrored-library-busybox:1.99.0"
HERE = "node-1"
ALL_OF_K3S = on_k3s(healthy(), datastore="etcd")
PACKAGED = {"metrics-server": "mirrored-metrics-server:v0.9.0", "local-storage": "local-path-provisioner:v0.0.36"} | {
    "traefik": "mirrored-library-traefik:3.7.4"
}
RELEASE = tuple(f"docker.io/rancher/{name}" for name in PACKAGED.values())
FACTS = on_k3s(ALL_OF_K3S, config={"disable": list(PACKAGED)})
WANTED = Expectation(
    version=VERSION, nodes=(ExpectedNode("s1", "server", "10.0.0.11"), ExpectedNode("a1", "agent", "10.0.0.21"))
)


class OfHost:
    """The door to the host alone: what both doors call by one name is the host's here."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def ask(self, question: Question, *words: str) -> Completed:
        return await self._cluster.run_command(command_of(question, words).argv)

    async def get(self, url: str, **_: Any) -> HttpResponse:
        return await self._cluster.get_url(url)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


@dataclass
class Cluster:
    """Both doors at once. `nodes` hold from their second on; pods report `answer_after` seconds after they were made.

    `refuse` names calls that fail ("apply .../pods/"); `stop_at` is the second from which somebody asks to stop.
    """

    nodes: dict[float, tuple[NodeFact, ...]] = field(default_factory=lambda: {0.0: (SERVER, AGENT)})
    system_pods: tuple[dict[str, Any], ...] = (DNS,)
    unready: str = ""
    unreachable: str = ""
    answer_after: float = 3.0
    read: list[str] = field(default_factory=list)
    report: str = "ok"
    refuse: str = ""
    gone_after: float = 2.0
    stop_at: float = float("inf")
    locked_by: str | None = None
    images: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"s1": (IMAGE,), "a1": (IMAGE,)})
    images_here: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    published: str = ""
    asked_urls: list[str] = field(default_factory=list)
    dns_after: float = 0.0
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    hiccups: dict[str, int] = field(default_factory=dict)
    sandboxes: float = 0.0
    namespaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    time: float = 0.0
    made: dict[str, tuple[float, Mapping[str, Any]]] = field(default_factory=dict)
    tries: dict[str, list[float]] = field(default_factory=dict)
    deleted: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    # System
    async def monotonic(self) -> float:
        return self.time

    async def now(self) -> float:
        return 1000.0 + self.time

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds

    async def stat(self, path: str) -> object | None:
        return path if path in self.skipped else None

    async def list_directory(self, path: str) -> tuple[str, ...]:
        return ()

    async def get_url(self, url: str) -> HttpResponse:
        self.asked_urls.append(url)
        if not self.published:
            raise ContractError(Failure("network.unreachable", f"{url} cannot be fetched"))
        return HttpResponse(200, self.published.encode())

    async def run_command(self, argv: tuple[str, ...]) -> Completed:
        assert argv == (paths.BINARY, "ctr", "-n", "k8s.io", "images", "ls", "-q")
        return Completed(0, "\n".join(self.images_here), "")

    async def lock(self, path: str, wait: float) -> str | None:
        return self.locked_by

    # Kube
    async def readiness(self) -> str:
        return self.unready

    async def cluster(self) -> ClusterFacts:
        if self.unreachable:
            return ClusterFacts(False, self.unreachable)
        return ClusterFacts(True, "", VERSION, self.nodes[max(at for at in self.nodes if at <= self.time)])

    def _may(self, call: str) -> None:
        for part, times in self.hiccups.items():
            if part in call and times:
                self.hiccups[part] = times - 1
                raise ContractError(
                    Failure("kube.unavailable", "the API cannot answer now", "etcdserver: leader changed")
                )
        if self.refuse and self.refuse in call:
            raise ContractError(Failure("kube.refused", "the API refuses it", call, "see its log"))

    async def get(self, path: str) -> Mapping[str, Any]:
        self._may(f"get {path}")
        if path.startswith("/api/v1/namespaces?labelSelector="):
            return {"items": list(self.namespaces.values())}
        name = path.split("/")[4] if path.startswith("/api/v1/namespaces/") else ""
        if path == f"/api/v1/namespaces/{name}":
            there = self.namespaces.get(name, {})
            if there and name in self.deleted:
                return {**there, "metadata": {**there["metadata"], "deletionTimestamp": "now"}}
            return there
        if path.startswith("/api/v1/nodes/"):
            names = self.images.get(path.rpartition("/")[2], ())
            return {"status": {"images": [{"names": [name]} for name in names]}}
        if path.endswith("/configmaps/productive-k3s-validated"):
            return self.made.get(path, (0.0, {}))[1]
        if "/leases/" in path:
            return self.leases.get(path.rpartition("/")[2], {})
        if path.endswith("/services/kube-dns"):
            return {"kind": "Service"} if self.time >= self.dns_after else {}
        return {}

    async def apply(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        self._may(f"apply {path}")
        self.made[path] = (self.time, document)
        self.tries.setdefault("/".join(path.split("/")[-2:]), []).append(self.time)
        if document["kind"] == "Namespace":
            self.namespaces[document["metadata"]["name"]] = {**document, "status": {"phase": "Active"}}
        spec = {**document.get("spec", {}), "clusterIP": f"10.43.0.{len(self.made)}"}
        return {**document, "spec": spec}

    async def delete(self, path: str) -> None:
        self._may(f"delete {path}")
        place = path.removesuffix("?gracePeriodSeconds=0")
        self.deleted[place.removeprefix("/api/v1/namespaces/")] = self.time
        if "/pods/" in place:
            del self.made[place]

    async def pods(self, namespace: str | None = None, node: str | None = None) -> tuple[Mapping[str, Any], ...]:
        self._may(f"pods {namespace}")
        if namespace == "kube-system":
            return self.system_pods
        if self.time >= self.deleted.get(f"{namespace}/pods", float("inf")) + self.gone_after:
            return ()
        found = [item for path, item in self.made.items() if f"/{namespace}/pods/" in path]
        return tuple(self._living(born, document) for born, document in found)

    async def log(self, namespace: str, pod: str, *, lines: int) -> str:
        assert lines >= 100
        self.read.append(pod)
        born, document = self.made[f"/api/v1/namespaces/{namespace}/pods/{pod}"]
        if self._waits(born, document) or not self._has_image(document):
            return ""
        return f"begin of report\n{self.report}\nend of report\n" if self.time >= born + self.answer_after else ""

    def _living(self, born: float, document: Mapping[str, Any]) -> Mapping[str, Any]:
        name = document["metadata"]["name"]
        if self._waits(born, document):
            state = {"type": "PodReadyToStartContainers", "status": "False"}
            return {"metadata": document["metadata"], "status": {"phase": "Pending", "conditions": [state]}}
        (container,) = document["spec"]["containers"]
        if not self._has_image(document):
            word = "ErrImageNeverPull" if container["imagePullPolicy"] == "Never" else "ImagePullBackOff"
            waiting = [{"name": "trial", "state": {"waiting": {"reason": word, "message": container["image"]}}}]
            return pod(name, "Pending", ready=False, containerStatuses=waiting)
        return pod(name, ready=self.time >= born + 1.0, podIP="10.42.0.9")

    def _has_image(self, document: Mapping[str, Any]) -> bool:
        (container,) = document["spec"]["containers"]
        return container["image"] in (*self.images.get(document["spec"]["nodeName"], ()), *self.images_here)

    def _waits(self, born: float, document: Mapping[str, Any]) -> bool:
        """A kubelet whose network came up at `sandboxes` looks at a pod that was there before only 12 s later."""
        return self.time < self.sandboxes or (born < self.sandboxes and self.time < born + 12.0)

    # Host
    def host(self) -> Host:
        return Host(
            OfHost(self),  # type: ignore[arg-type]
            lambda path: self,  # type: ignore[arg-type,return-value]
            lambda kind, message, change="": self.said.append(message),
            lambda: "SIGTERM" if self.time >= self.stop_at else "",
        )

    def run(
        self, scope: str = "cluster", *, full: bool = False, wanted: Expectation | None = WANTED, facts: Facts = FACTS
    ) -> Result:
        async def gather(_: Host) -> Facts:
            return facts

        document = None if wanted is None else encode(wanted)
        return run_to_end(validate.run(self.host(), scope, full, document, gather=gather, new_name=lambda: NAME))


def bad(result: Result) -> dict[str, CheckResult]:
    # No certificates lie on this disk: that warning is not what is looked at here.
    return {
        f"{check.id} {check.subject}": check
        for check in result.checks
        if not check.passed and check.id != "certificate.days"
    }


def test_a_good_cluster_takes_three_looks() -> None:
    cluster = Cluster()
    result = cluster.run()
    assert (result.outcome, bad(result), exit_code(result)) == ("done", {}, 0)
    assert cluster.time == pytest.approx(2 * WANTED.interval)
    assert cluster.made == {}
    assert result.facts is FACTS


def test_the_host_alone_asks_no_cluster() -> None:
    cluster = Cluster(unreachable="must not be asked")
    result = cluster.run("host", facts=on_k3s(FACTS, role="agent"))
    assert result.outcome == "done"
    assert {check.id.partition(".")[0] for check in result.checks} == {"service", "k3s", "certificate", "disk"}


def test_by_hand_the_hosts_own_word_is_the_expectation() -> None:
    result = Cluster().run(wanted=None)
    assert result.outcome == "done"
    assert {check.subject for check in result.checks if check.id == "node.ready"} == {"s1", "a1"}
    older = Cluster(nodes={0.0: (replace(SERVER, version="v1.33.0+k3s1"),)}).run(wanted=None)
    assert set(bad(older)) == {"node.version s1"}


def test_a_wrong_version_is_not_waited_for_long() -> None:
    cluster = Cluster(nodes={0.0: (SERVER, replace(AGENT, version="v1.33.0+k3s1"))})
    assert set(bad(cluster.run())) == {"node.version a1"}
    assert cluster.time < 7.0
    after_restart = Cluster(nodes={0.0: (SERVER, replace(AGENT, version="v1.33.0+k3s1")), 3.0: (SERVER, AGENT)})
    assert after_restart.run().outcome == "done"


def test_a_failed_check_is_exit_code_six() -> None:
    result = Cluster(nodes={0.0: (SERVER,)}).run()
    assert (result.outcome, set(bad(result)), exit_code(result)) == ("failed", {"node.present a1"}, 6)


def test_a_warning_fails_nothing() -> None:
    result = Cluster(nodes={0.0: (SERVER, replace(AGENT, schedulable=False))}).run()
    assert (result.outcome, set(bad(result))) == ("done", {"node.schedulable a1"})


def test_a_node_that_comes_late_is_waited_for() -> None:
    down = replace(AGENT, ready=False)
    cluster = Cluster(nodes={0.0: (SERVER,), 5.0: (SERVER, down), 9.0: (SERVER, AGENT)})
    assert cluster.run().outcome == "done"
    assert 9.0 + 2 * WANTED.interval <= cluster.time < 11.0
    assert {"a1 is not there", "a1 is not Ready"} <= set(cluster.said)


def test_a_node_that_comes_and_goes_is_not_ready() -> None:
    down = replace(AGENT, ready=False)
    flapping = {second * 2 * WANTED.interval: (SERVER, AGENT if second % 2 else down) for second in range(200)}
    result = Cluster(nodes=flapping).run()  # type: ignore[arg-type]
    assert set(bad(result)) == {"node.ready a1"}


def test_the_wait_is_bounded_by_the_deadline() -> None:
    cluster = Cluster(nodes={0.0: (SERVER, replace(AGENT, ready=False))})
    assert set(bad(cluster.run())) == {"node.ready a1"}
    assert WANTED.deadline <= cluster.time < WANTED.deadline + 1.0


def test_system_pods_are_waited_for_and_then_named() -> None:
    cluster = Cluster(system_pods=(DNS, pod("broken", ready=False)))
    assert set(bad(cluster.run())) == {"system.pods kube-system/broken"}
    assert cluster.time >= WANTED.deadline


def test_coredns_that_is_switched_off_is_not_missed() -> None:
    assert set(bad(Cluster(system_pods=()).run())) == {"system.pods kube-system/coredns"}
    assert Cluster(system_pods=()).run(facts=on_k3s(FACTS, config={"disable": ["coredns"]})).outcome == "done"


def labelled(name: str, **labels: str) -> dict[str, Any]:
    found = pod(name)
    return {**found, "metadata": {**found["metadata"], "labels": labels}}


SYSTEM = (
    DNS,
    labelled("metrics", **{"k8s-app": "metrics-server"}),
    labelled("storage", app="local-path-provisioner"),
    labelled("traefik", **{"app.kubernetes.io/name": "traefik"}),
)


def packaged(cluster: Cluster, *images: str, **config: object) -> dict[str, CheckResult]:
    """Return what is said of the packaged components of a release with these images."""
    result = cluster.run(facts=on_k3s(FACTS, config=config), wanted=replace(WANTED, images=images))
    assert result.outcome == "done"
    return {check.subject: check for check in result.checks if check.id == "system.packaged"}


def test_what_the_release_carries_is_expected_to_run() -> None:
    assert {
        name: check.passed for name, check in packaged(Cluster(system_pods=SYSTEM), *RELEASE).items()
    } == dict.fromkeys(PACKAGED, True)
    cluster = Cluster(system_pods=SYSTEM[:-1])
    found = packaged(cluster, *RELEASE)
    assert [name for name, check in found.items() if not check.passed] == ["traefik"]
    assert (found["traefik"].severity, found["traefik"].evidence) == (
        "warning",
        "no pod with the label app.kubernetes.io/name=traefik in kube-system",
    )
    # Traefik is deployed by a job, so it has its time; no longer, as nothing else hangs on it.
    assert 30.0 <= cluster.time < WANTED.deadline


def test_what_the_release_does_not_carry_is_said_and_not_waited_for() -> None:
    cluster = Cluster(system_pods=SYSTEM[:-1])
    found = packaged(cluster, *RELEASE[:-1])
    assert [name for name, check in found.items() if not check.passed] == ["traefik"]
    assert (found["traefik"].severity, found["traefik"].message) == (
        "warning",
        "this release of K3s does not include it",
    )
    assert cluster.time < 5.0
    assert packaged(Cluster()) == {}, "nobody knows what the release carries"


def test_a_component_that_is_switched_off_is_not_missed() -> None:
    off = {"disable": ["metrics-server,local-storage"], "disable-helm-controller": True}
    assert packaged(Cluster(), *RELEASE, **off) == {}
    skipped = tuple(
        f"/var/lib/rancher/k3s/server/manifests/{name}.yaml.skip"
        for name in ("metrics-server/metrics-server-deployment", "local-storage", "traefik")
    )
    assert packaged(Cluster(skipped=skipped), *RELEASE) == {}


def test_an_api_that_is_away_is_one_check() -> None:
    cluster = Cluster(unreachable="connection refused")
    result = cluster.run(full=True)
    assert set(bad(result)) == {f"api.ready {HERE}"}
    assert bad(result)[f"api.ready {HERE}"].evidence == "connection refused"
    assert cluster.made == {}


def test_an_api_that_is_not_ready_says_why() -> None:
    result = Cluster(unready="[-]etcd failed").run()
    assert bad(result)[f"api.ready {HERE}"].evidence == "[-]etcd failed"


@pytest.mark.parametrize("role", ["agent", None])
def test_a_cluster_is_validated_from_a_server(role: str | None) -> None:
    with pytest.raises(ContractError) as caught:
        Cluster().run(facts=on_k3s(FACTS, role=role))
    assert (caught.value.failure.code, caught.value.failure.exit_code) == ("request.scope", 2)
    assert (
        caught.value.failure.remedy == "run this on a server of the cluster; a host can validate itself with scope host"
    )


def test_an_unknown_word_in_the_expectation_is_named() -> None:
    with pytest.raises(ContractError) as caught:
        run_to_end(validate.run(Cluster().host(), "host", False, {"nodez": []}))
    assert "expectation.nodez" in caught.value.failure.evidence


def is_clean(cluster: Cluster) -> bool:
    """Nothing runs any more, and what it ran in is ending by itself."""
    ending = all(name in cluster.deleted for name in cluster.namespaces)
    return ending and not run_to_end(cluster.pods(NAME))


def test_full_makes_a_pod_on_each_node_and_takes_them_away() -> None:
    cluster = Cluster()
    result = cluster.run(full=True)
    assert (result.outcome, bad(result)) == ("done", {})
    ids = [check.id for check in result.checks if check.id.startswith("pod.")]
    assert ids == ["pod.runs", "pod.dns", "pod.reaches"] * 2 + ["pod.removed"]
    pods = [document for _, document in cluster.made.values() if document["kind"] == "Pod"]
    assert sorted(item["spec"]["nodeName"] for item in pods) == ["a1", "s1"]
    assert is_clean(cluster)


def test_full_means_the_cluster_even_if_nobody_said_so() -> None:
    assert any(check.id == "pod.reaches" for check in Cluster().run("host", full=True).checks)


def test_the_services_addresses_are_told_to_who_asks() -> None:
    cluster = Cluster()
    cluster.run(full=True)
    _, document = cluster.made[f"/api/v1/namespaces/{NAME}/pods/trial-0"]
    (container,) = document["spec"]["containers"]
    targets = next(item["value"] for item in container["env"] if item["name"] == "TARGETS")
    assert targets == "0=s1=10.43.0.3 1=a1=10.43.0.4"


def test_a_node_that_is_not_reached_fails_and_is_cleaned_up_too() -> None:
    cluster = Cluster(report="1 answer\n")
    result = cluster.run(full=True)
    assert set(bad(result)) == {"pod.reaches s1", "pod.reaches a1"}
    assert exit_code(result) == 6
    assert is_clean(cluster)


def test_a_node_that_is_not_ready_gets_no_pod() -> None:
    cluster = Cluster(nodes={0.0: (SERVER, replace(AGENT, ready=False))})
    result = cluster.run(full=True)
    assert set(bad(result)) == {"node.ready a1", "pod.runs a1"}
    (made,) = [document for path, (_, document) in cluster.made.items() if "/pods/" in path]
    assert made["spec"]["nodeName"] == "s1"


def test_pods_that_never_answer_end_at_the_deadline() -> None:
    cluster = Cluster(answer_after=1e9)
    result = cluster.run(full=True)
    assert set(bad(result)) == {"pod.reaches s1", "pod.reaches a1"}
    assert cluster.time < WANTED.deadline + WANTED.trial_deadline + 70.0
    assert is_clean(cluster)


def test_pods_start_while_the_nodes_are_looked_at_again() -> None:
    cluster = Cluster(nodes={0.0: (SERVER, replace(AGENT, ready=False)), 30.0: (SERVER, AGENT)})
    result = cluster.run(full=True)
    assert (result.outcome, bad(result)) == ("done", {})
    assert cluster.tries["pods/trial-0"] == cluster.tries["pods/trial-1"]
    assert 30.0 <= cluster.tries["pods/trial-0"][0] < 30.0 + WANTED.interval + 0.5


JOINING = replace(WANTED, joining=True, deadline=600.0)


def test_each_node_that_joins_gets_its_pod_when_it_is_ready() -> None:
    cluster = Cluster(nodes={0.0: (SERVER,), 100.0: (SERVER, AGENT)})
    result = cluster.run(full=True, wanted=JOINING)
    assert (result.outcome, bad(result)) == ("done", {})
    # A pod that is bound to a node that is not there is taken away after 40 s, and one that a kubelet meets before its
    # network is up waits 10 s and more.
    assert cluster.tries["pods/trial-0"] == [pytest.approx(0.0, abs=0.5)]
    assert cluster.tries["pods/trial-1"] == [pytest.approx(100.0, abs=1.0)]
    assert is_clean(cluster)


def test_a_node_that_never_joined_is_not_asked_about() -> None:
    cluster = Cluster(nodes={0.0: (SERVER,)})
    result = cluster.run(full=True, wanted=replace(JOINING, deadline=30.0))
    assert set(bad(result)) == {"node.present a1", "pod.runs a1", "pod.runs s1"}
    assert is_clean(cluster)


def test_pods_outlive_no_validation_by_much() -> None:
    cluster = Cluster()
    cluster.run(full=True, wanted=replace(WANTED, deadline=600.0))
    (pod_made, *_) = [document for _, document in cluster.made.values() if document["kind"] == "Pod"]
    assert pod_made["spec"]["activeDeadlineSeconds"] == 600 + 120 + 120
    notes = cluster.made[f"/api/v1/namespaces/{NAME}"][1]["metadata"]["annotations"]
    assert notes[trial_objects.ENDS] == str(1000 + 840)


def test_a_service_that_ends_during_the_validation_is_found() -> None:
    cluster = Cluster()
    seen = [FACTS, on_k3s(healthy(active_state="failed", sub_state="failed"), datastore="etcd")]

    async def gather(_: Host) -> Facts:
        return seen.pop(0)

    result = run_to_end(validate.run(cluster.host(), "cluster", False, encode(WANTED), gather=gather))
    assert (result.outcome, set(bad(result))) == ("failed", {f"service.active {HERE}"})


@pytest.mark.parametrize("call", ["/pods/trial-1", "/services/answer-0", f"apply /api/v1/namespaces/{NAME}"])
def test_what_the_api_refuses_is_a_check_and_nothing_stays(call: str) -> None:
    cluster = Cluster(refuse=call)
    result = cluster.run(full=True)
    assert set(bad(result)) == {f"pod.made {NAME}"}
    assert call in bad(result)[f"pod.made {NAME}"].evidence
    assert is_clean(cluster)


def test_nothing_waits_for_controllers() -> None:
    """With etcd they stand still for 15 s after the restart of a lone server: no account, no endpoints by them."""
    cluster = Cluster()
    assert cluster.run(full=True).outcome == "done"
    account = cluster.made[f"/api/v1/namespaces/{NAME}/serviceaccounts/trial"][1]
    pods = [document for _, document in cluster.made.values() if document["kind"] == "Pod"]
    assert {item["spec"]["serviceAccountName"] for item in pods} == {account["metadata"]["name"]}
    services = [document for _, document in cluster.made.values() if document["kind"] == "Service"]
    slices = [document for _, document in cluster.made.values() if document["kind"] == "EndpointSlice"]
    assert not any("selector" in item["spec"] for item in services)
    assert {item["metadata"]["labels"]["kubernetes.io/service-name"] for item in slices} == {"answer-0", "answer-1"}
    assert [item["endpoints"][0]["addresses"] for item in slices] == [["10.42.0.9"], ["10.42.0.9"]]
    assert cluster.deleted[NAME] < 3.5


def lease(renewed: str) -> dict[str, Any]:
    return {"spec": {"holderIdentity": "s1_1", "leaseDurationSeconds": 15, "renewTime": renewed}}


def test_controllers_that_nobody_leads_are_found() -> None:
    """The host's clock begins at 1970-01-01T00:16:40Z here."""
    names = ("kube-controller-manager", "kube-scheduler")
    leads = Cluster(leases=dict.fromkeys(names, lease("1970-01-01T00:16:39.000000Z")))
    assert (leads.run().outcome, leads.time) == ("done", pytest.approx(2 * WANTED.interval))
    gone = Cluster(leases={names[0]: lease("1970-01-01T00:15:00.000000Z")})
    check = bad(gone.run())["system.controllers kube-system"]
    assert "kube-controller-manager has had no leader" in check.evidence
    assert gone.time >= WANTED.deadline
    config = {f"{names[0]}-arg": ["leader-elect=false"]}
    assert gone.run(facts=on_k3s(FACTS, config=config)).outcome == "done"
    assert gone.run(facts=on_k3s(FACTS, datastore="sqlite")).outcome == "done"


def image_of(cluster: Cluster, node: str) -> str:
    pods = [document["spec"] for _, document in cluster.made.values() if document["kind"] == "Pod"]
    (container,) = next(spec["containers"] for spec in pods if spec["nodeName"] == node)
    image: str = container["image"]
    return image


OTHER = IMAGE.replace("1.99.0", "1.98.0")


def test_each_node_runs_an_image_that_it_has() -> None:
    cluster = Cluster(images={"s1": (IMAGE,), "a1": (OTHER,)})
    assert bad(cluster.run(full=True, wanted=replace(WANTED, images=(IMAGE,)))) == {}
    assert (image_of(cluster, "s1"), image_of(cluster, "a1")) == (IMAGE, OTHER)


def test_an_image_that_is_not_there_is_replaced_by_one_that_is() -> None:
    """A kubelet reports its images some seconds after it has joined; the release's list says another version."""
    cluster = Cluster(images={}, images_here=(OTHER,))
    wanted = replace(WANTED, images=(IMAGE,), may_pull=False)
    assert bad(cluster.run(full=True, wanted=wanted)) == {}
    assert (image_of(cluster, "s1"), image_of(cluster, "a1")) == (OTHER, OTHER)
    assert cluster.time < 10.0


def test_an_image_that_nobody_has_and_nobody_can_pull_is_said() -> None:
    cluster = Cluster(images={})
    result = cluster.run(full=True, wanted=replace(WANTED, images=(IMAGE,), may_pull=False))
    assert "ErrImageNeverPull" in bad(result)["pod.runs a1"].evidence
    assert cluster.time < 40.0, "nobody can bring it meanwhile"
    assert is_clean(cluster)
    pulling = Cluster(images={})
    found = bad(pulling.run(full=True, wanted=replace(WANTED, images=(IMAGE,))))
    assert "ImagePullBackOff" in found["pod.runs a1"].evidence
    assert pulling.time > WANTED.trial_deadline


def test_by_hand_the_releases_own_list_is_asked_for() -> None:
    cluster = Cluster(images={}, published=f"docker.io/rancher/mirrored-pause:3.6\n{IMAGE}\n")
    cluster.run(full=True, wanted=None)
    assert cluster.asked_urls == [
        f"https://github.com/k3s-io/k3s/releases/download/{VERSION.replace('+', '%2B')}/k3s-images.txt"
    ]
    assert image_of(cluster, "s1") == IMAGE


def test_without_any_image_no_pod_is_made_and_it_is_an_error() -> None:
    cluster = Cluster(images={})
    result = cluster.run(full=True)
    (check,) = [check for name, check in bad(result).items() if name.startswith("pod.")]
    assert (check.id, check.severity) == ("pod.image", "error")
    assert "artifacts.delivery" in check.remedy
    assert cluster.made == {}
    assert cluster.time < WANTED.trial_deadline


def test_names_are_tried_in_the_first_apply_too() -> None:
    """K3s makes CoreDNS' Service some seconds after the first node is Ready."""
    cluster = Cluster(dns_after=6.0)
    result = cluster.run(full=True)
    assert (result.outcome, bad(result)) == ("done", {})
    assert min(at for path, (at, _) in cluster.made.items() if NAME in path) >= 6.0
    assert any(check.id == "pod.dns" and check.passed for check in result.checks)


def test_a_service_of_coredns_that_never_comes_is_no_success() -> None:
    cluster = Cluster(dns_after=1e9)
    assert set(bad(cluster.run(full=True))) == {"pod.dns s1", "pod.dns a1"}
    off = Cluster(dns_after=1e9, system_pods=())
    result = off.run(full=True, facts=on_k3s(FACTS, config={"disable": ["coredns"]}))
    assert {check.severity for check in bad(result).values()} == {"warning"}
    assert off.time < 10.0, "it was not waited for"


@pytest.mark.parametrize(
    "call", ["/pods/trial-1", "/services/answer-0", "/endpointslices/", f"pods {NAME}", "kube-dns"]
)
def test_a_moment_without_the_api_fails_nothing(call: str) -> None:
    cluster = Cluster(hiccups={call: 3})
    assert (cluster.run(full=True).outcome, cluster.hiccups[call]) == ("done", 0)
    assert is_clean(cluster)


def test_an_api_that_stays_away_during_the_trial_is_the_finding() -> None:
    cluster = Cluster(hiccups={f"pods {NAME}": 10**9})
    assert "leader changed" in bad(cluster.run(full=True))[f"pod.made {NAME}"].evidence
    assert cluster.time < WANTED.deadline + WANTED.trial_deadline + 70.0


def scope(result: Result) -> str:
    assert result.data is not None
    return str(result.data["scope"])


def test_a_full_validation_is_repeated_until_it_has_passed_for_this_state() -> None:
    cluster, wanted = Cluster(), replace(WANTED, state="of-now", unless_passed=True)
    note = "/api/v1/namespaces/kube-system/configmaps/productive-k3s-validated"
    cluster.made[note] = (0.0, {"kind": "ConfigMap", "data": {"state": "of-before"}})
    assert scope(cluster.run(full=True, wanted=wanted)) == "full"
    cluster.made[note] = (0.0, {"kind": "ConfigMap", "data": {"state": "of-now"}})
    result = cluster.run(full=True, wanted=wanted)
    assert scope(result) == "quick"
    assert not any(check.id.startswith("pod.") for check in result.checks)
    assert scope(cluster.run(full=True, wanted=replace(wanted, unless_passed=False))) == "full"


@pytest.mark.parametrize("state", ["", "of-now"])
def test_what_is_not_known_to_have_passed_is_tried(state: str) -> None:
    wanted = replace(WANTED, state=state, unless_passed=True)
    assert scope(Cluster().run(full=True, wanted=wanted)) == "full"
    assert scope(Cluster(hiccups={"productive-k3s-validated": 1}).run(full=True, wanted=wanted)) == "full"


@pytest.mark.parametrize(("noted", "found"), [("", "full"), ("of-some-day", "quick")])
def test_whoever_does_not_know_the_hosts_tries_what_did_not_pass_last(noted: str, found: str) -> None:
    cluster = Cluster()
    note = "/api/v1/namespaces/kube-system/configmaps/productive-k3s-validated"
    cluster.made[note] = (0.0, {"kind": "ConfigMap", "data": {"state": noted}})
    assert scope(cluster.run(full=True, wanted=replace(WANTED, state="", unless_passed=True))) == found


def test_the_driver_has_it_noted() -> None:
    cluster = Cluster()

    async def gather(_: Host) -> Facts:
        return FACTS

    assert run_to_end(validate.note(cluster.host(), "of-now", gather=gather)).outcome == "done"
    assert run_to_end(passed.passed_state(cluster)) == "of-now"  # type: ignore[arg-type]
    assert scope(cluster.run(full=True, wanted=replace(WANTED, state="of-now", unless_passed=True))) == "quick"


def test_a_pod_whose_network_came_late_does_not_wait_for_its_kubelet() -> None:
    """A kubelet tries 10 to 15 s later again; a new pod it tries at once."""
    cluster = Cluster(sandboxes=2.0)
    assert (cluster.run(full=True).outcome, len(cluster.tries["pods/trial-0"])) == ("done", 2)
    assert cluster.time < 10.0
    assert is_clean(cluster)


@pytest.mark.parametrize("second", [0.0, 0.3, 0.9, 1.4, 2.4, 2.9])
def test_interrupted_at_any_moment_nothing_stays(second: float) -> None:
    cluster = Cluster(stop_at=second)
    with pytest.raises(ContractError) as caught:
        cluster.run(full=True)
    assert caught.value.failure.exit_code == 130
    assert is_clean(cluster)
    assert bool(cluster.deleted) == bool(cluster.made)


def test_a_namespace_that_does_not_go_is_said() -> None:
    cluster = Cluster(gone_after=1e9)
    result = cluster.run(full=True)
    assert result.outcome == "done"
    assert "2 pods" in bad(result)[f"pod.removed {NAME}"].evidence


def test_a_deletion_that_is_refused_is_tried_until_the_time_is_up() -> None:
    cluster = Cluster(refuse="delete ")
    result = cluster.run(full=True)
    assert "delete" in bad(result)[f"pod.removed {NAME}"].evidence
    assert cluster.time < 80.0


def test_what_a_killed_run_left_goes_first() -> None:
    cluster = Cluster()
    killed = trial_objects.namespace(trial_objects.Trial("productive-k3s-validate-old", HERE, ("s1",), 60.0), 900.0)
    elsewhere = trial_objects.namespace(
        trial_objects.Trial("productive-k3s-validate-other", "s2", ("s1",), 60.0), 990.0
    )
    cluster.namespaces = {item["metadata"]["name"]: item for item in (killed, elsewhere)}
    result = cluster.run(full=True)
    assert result.outcome == "done"
    old = "productive-k3s-validate-old"
    assert list(cluster.deleted) == [f"{old}/pods", old, f"{NAME}/pods", NAME]
    assert cluster.deleted[old] <= cluster.made[f"/api/v1/namespaces/{NAME}"][0]


def test_pods_that_do_not_go_are_waited_for_though_their_namespace_is_ending() -> None:
    cluster = Cluster(gone_after=20.0)
    assert not bad(cluster.run(full=True))
    assert cluster.time >= cluster.deleted[NAME] + 20.0


def test_one_full_validation_at_a_time() -> None:
    cluster = Cluster(locked_by="process 1 of 0")
    with pytest.raises(ContractError) as caught:
        cluster.run(full=True)
    assert (caught.value.failure.exit_code, caught.value.failure.evidence) == (7, "process 1 of 0")
    assert cluster.made == {}
