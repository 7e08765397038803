"""pk3s on one server and two agents that it made: what it makes, what it leaves alone, and what it changes when asked.

The cluster is shared by the module. Around each test stands a fingerprint: units that started anew, nodes that are
others and machines that came or went fail the test, unless it declared them.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lab_bed
from lab_bed import Release
from pk3s_bed import Done, Fingerprint, Sampler, Site, make_site
from productive_k3s_infra.providers.local import machines

pytestmark = pytest.mark.live

NAMES = ("server-1", "agent-1", "agent-2")
WITH_A_FLAG = ("  nodes:\n", "    server:\n      kube-apiserver-arg: [event-ttl=2h]\n  nodes:\n")


@dataclass(frozen=True)
class Cluster:
    """The shared cluster, how its first apply ended, and every argument vector that was there meanwhile."""

    site: Site
    first: Done
    vectors: frozenset[bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, k3s_release: Release, kubectl_tool: Path) -> Iterator[Cluster]:
    site = make_site(tmp_path_factory.mktemp("apply"), k3s_release, kubectl_tool)
    try:
        with Sampler() as sampler:
            first = site.expect(0, "apply", "--yes")
        yield Cluster(site, first, frozenset(sampler.vectors))
    finally:
        site.close()


@pytest.fixture
def site(made: Cluster) -> Site:
    return made.site


@pytest.fixture
def may_start_anew() -> set[str]:
    """A test adds the names of machines whose K3s it starts anew."""
    return set()


@pytest.fixture(autouse=True)
def fingerprint(made: Cluster, may_start_anew: set[str]) -> Iterator[Fingerprint]:
    before = made.site.fingerprint()
    yield before
    after = made.site.fingerprint()
    assert after.machines == before.machines
    assert after.nodes == before.nodes
    anew = {name for name in before.units if before.units[name] != after.units[name]}
    assert anew <= may_start_anew, f"nobody declared that these start anew: {anew - may_start_anew}"


def pods(site: Site) -> set[str]:
    return {pod["metadata"]["uid"] for pod in site.get("pods", "-A")}


def test_the_first_apply_makes_three_ready_nodes(made: Cluster) -> None:
    nodes = {node["metadata"]["name"]: lab_bed.conditions(node)["Ready"] for node in made.site.get("nodes")}
    assert nodes == dict.fromkeys(NAMES, "True")
    assert "local: valid (full" in made.first.out
    for name in NAMES:
        assert re.search(rf"done {name} +(server|agent) +\d", made.first.err), made.first.err


def test_what_lies_beside_the_cluster_file_is_private(site: Site) -> None:
    assert site.workspace.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in site.workspace.iterdir() if path.is_file()}
    assert modes["kubeconfig"] == modes["operator_key"] == 0o600
    assert sorted(path.name for path in site.path.iterdir() if not path.name.startswith(".")) == [
        "cluster.lock",
        "cluster.yaml",
    ]
    assert (site.path / ".pk3s" / ".gitignore").read_text() == "*\n"


def test_a_deployment_answers_on_three_nodes_through_its_service(site: Site) -> None:
    """Every node reaches the pod of every node: directly, and through the Service."""
    images = site.on("server-1", "k3s ctr -n k8s.io images ls -q").split()
    image = next(name for name in images if "busybox" in name and "@" not in name)
    site.kubectl("apply", "-f", "-", data=json.dumps(hello(image)))
    try:
        site.kubectl("rollout", "status", "deployment/hello", "--timeout=90s")
        found = {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in site.get("pods", "-l", "app=hello")}
        assert sorted(found) == sorted(NAMES)
        address = json.loads(site.kubectl("get", "service", "hello", "-o", "json"))["spec"]["clusterIP"]
        for name in NAMES:
            for node, pod in found.items():
                assert site.on(name, f"curl -sS --max-time 10 http://{pod}:8080/") == node
            seen = site.on(
                name, f"for i in $(seq 40); do curl -sS --max-time 10 http://{address}/; echo; done | sort -u"
            )
            assert seen.split() == sorted(NAMES)
    finally:
        site.kubectl("delete", "deployment,service", "hello", "--wait=false")


def hello(image: str) -> dict[str, Any]:
    """A Deployment of three replicas, never two on a node, that answer with their node's name; and its Service."""
    labels = {"app": "hello"}
    script = 'mkdir /tmp/www; printf %s "$NODE" > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www'
    container = {
        "name": "hello",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    apart = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    spec = {
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    deployment = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"}, "spec": deployment},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"}, "spec": service},
        ],
    }


def test_a_second_apply_changes_nothing(site: Site) -> None:
    there = pods(site)
    kept = {name: (site.path / name).read_bytes() for name in ("cluster.lock", "cluster.yaml")}
    assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out
    again = site.expect(0, "apply", "--yes", "-o", "json").document
    assert again["exit_code"] == 0
    assert again["plan"]["steps"] == again["results"] == []
    assert {item["host"] for item in again["plan"]["unchanged"]} == set(NAMES)
    assert again["report"]["scope"] == "quick"
    assert Path(again["journal"]).exists()
    assert pods(site) <= there
    assert {name: (site.path / name).read_bytes() for name in kept} == kept
    # Nobody has to agree to nothing; what is not committed is made anew.
    (site.workspace / "kubeconfig").unlink()
    assert "Nothing to change." in site.expect(0, "apply").out
    assert (site.workspace / "kubeconfig").stat().st_mode & 0o777 == 0o600


def test_a_fresh_checkout_plans_nothing(site: Site, tmp_path: Path) -> None:
    """The same hosts in a file for `onprem`, with cluster.lock and nothing else that pk3s wrote."""
    fresh = onprem_checkout(site, tmp_path)
    planned = fresh.expect(0, "plan", "--exit-code")
    assert "Nothing to change." in planned.out, planned
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in (".home", ".tmp")) == [
        "cluster.lock",
        "cluster.yaml",
    ]
    # The record is what says which cluster is meant: with another one in it the hosts are strangers.
    lock = fresh.path / "cluster.lock"
    lock.write_text(re.sub(r"caHash: \w+", f"caHash: {'0' * 64}", lock.read_text()))
    refused = fresh.expect(4, "plan").out
    assert re.search(r"server-1[^:]*: is a member of another cluster \[node\.cluster\]", refused), refused


def onprem_checkout(site: Site, path: Path) -> Site:
    document = {
        "apiVersion": "productive-k3s/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "local"},
        "spec": {
            "provider": {"kind": "onprem"},
            "ssh": {"user": "root", "key": str(site.workspace / "operator_key")},
            "k3s": {
                "version": site.release.version,
                "artifacts": {"source": str(site.release.directory)},
            },
            "nodes": [
                {
                    "name": machine.name,
                    "role": "server" if machine.name.startswith("server") else "agent",
                    "address": machine.address,
                    "hostKey": machine.host_key,
                }
                for machine in site.machines
            ],
        },
    }
    (path / "cluster.yaml").write_text(json.dumps(document, indent=1))
    (path / "cluster.lock").write_bytes((site.path / "cluster.lock").read_bytes())
    return Site(path, site.release, site.tool)


def test_a_changed_server_flag_restarts_the_server_once(
    site: Site, fingerprint: Fingerprint, may_start_anew: set[str]
) -> None:
    may_start_anew.add("server-1")
    with site.edited(WITH_A_FLAG):
        planned = site.expect(3, "plan", "--exit-code", "-o", "json").document["plan"]
        (step,) = planned["steps"]
        assert (step["id"], step["impact"]) == ("server-1/apply-server", "disrupt")
        diff = [line for change in step["changes"] for line in change["diff"]]
        assert [line for line in diff if line.startswith("+") and not line.startswith("+++")] == [
            "+kube-apiserver-arg:",
            "+- event-ttl=2h",
        ]
        assert not [line for line in diff if line.startswith("-") and not line.startswith("---")]
        assert "! server-1/apply-server" in site.expect(0, "plan").out
        assert "the plan was not approved" in site.expect(4, "apply").err
        assert site.fingerprint() == fingerprint
        assert site.expect(0, "apply", "--yes", "-o", "json").steps == {
            "server-1/apply-server": ["write:/etc/rancher/k3s/config.yaml", "restart:k3s", "wait:k3s"]
        }
        changed = site.fingerprint()
        assert [name for name in NAMES if changed.units[name] != fingerprint.units[name]] == ["server-1"]
        assert changed.nodes == fingerprint.nodes
        assert "--event-ttl=2h" in site.on("server-1", "ps axww -o args") or not site.release.is_lab
    assert list(site.expect(0, "apply", "--yes", "-o", "json").steps) == ["server-1/apply-server"]


def test_a_saved_plan_goes_on_after_a_kill_in_the_middle_of_a_step(
    site: Site, fingerprint: Fingerprint, may_start_anew: set[str]
) -> None:
    """SIGKILL of pk3s while the server starts anew: the same plan waits for that, and starts nothing once more.

    Then there is nothing left of it. Once somebody else has changed something, it is refused.
    """
    may_start_anew.add("server-1")
    saved = ".saved.plan"
    with site.edited(WITH_A_FLAG):
        (step,) = site.expect(0, "plan", "--out", saved, "-o", "json").document["plan"]["steps"]
        assert (step["id"], step["impact"]) == ("server-1/apply-server", "disrupt")

        running = site.begin("apply", saved)
        running.until(r"server-1 +restart k3s ")
        running.process.kill()
        assert running.end().code == -9
        again = site.expect(0, "apply", saved, "-o", "json")
        assert again.steps == {"server-1/apply-server": ["wait:k3s"]}
        after = site.fingerprint()
        assert after.nodes == fingerprint.nodes

        last = site.expect(0, "apply", saved)
        assert "Nothing to change." in last.out
        assert "already done by this plan: server-1/apply-server" in last.err
        assert site.fingerprint() == after

        site.on("server-1", "sed -i '/event-ttl/d; /kube-apiserver-arg/d' /etc/rancher/k3s/config.yaml")
        site.on("server-1", "echo 'debug: true' >> /etc/rancher/k3s/config.yaml")
        refused = site.expect(4, "apply", saved).err
        assert "[plan.stale]" in refused
        assert "server-1/apply-server differs: " in refused
        assert site.fingerprint() == after
    assert "[plan.other-file]" in site.expect(2, "apply", saved).err
    site.expect(0, "apply", "--yes")


def test_an_added_agent_joins_and_leaves_again_before_its_machine_goes(site: Site, fingerprint: Fingerprint) -> None:
    try:
        with site.edited(("count: 2", "count: 3")):
            applied = site.expect(0, "apply", "--yes", "-o", "json")
            assert {step.partition("/")[0] for step in applied.steps} == {"agent-3"}
            after = site.fingerprint()
            assert {name: after.units[name] for name in NAMES} == dict(fingerprint.units)
            assert set(after.nodes) - set(fingerprint.nodes) == {"agent-3"}
            # Its machine vanishes: K3s would refuse another host by the name of the Node that stays behind.
            machines.destroy(site.set, ["agent-3"])
            again = site.expect(0, "apply", "--yes", "-o", "json").steps
            assert "agent-3/forget-node" in again
            assert {step.partition("/")[0] for step in again} == {"agent-3"}
            assert site.fingerprint().nodes["agent-3"] != after.nodes["agent-3"]
        # Taken out of the file again: its node is drained and leaves, then its machine goes.
        left = site.expect(3, "plan", "--exit-code").out
        assert "- agent-3/remove-node" in left
        assert "x agent-3/destroy-machine" in left
        assert "agent-3" in site.expect(0, "status").out
        assert "the plan was not approved" in site.expect(4, "apply").err
        assert "agent-3" in site.fingerprint().nodes
        assert "[plan.prune]" in site.expect(4, "apply", "--yes").err
        gone = site.expect(0, "apply", "--yes", "--prune", "-o", "json").steps
        assert list(gone) == ["agent-3/remove-node", "agent-3/destroy-machine"]
        assert "agent-3" not in {machine.name for machine in machines.survey(site.set)}
        after = site.fingerprint()
        assert after.nodes == fingerprint.nodes
        assert {name: after.units[name] for name in NAMES} == dict(fingerprint.units)
        assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out
    finally:
        machines.destroy(site.set, ["agent-3"])
        site.kubectl("delete", "node", "agent-3", "--ignore-not-found")


def test_a_stopped_machine_is_started_and_nothing_else_happens(
    site: Site, fingerprint: Fingerprint, may_start_anew: set[str]
) -> None:
    may_start_anew.add("agent-2")
    machines.stop(site.set, ["agent-2"])
    try:
        planned = site.expect(3, "plan", "--exit-code", "-o", "json").document["plan"]
        assert [step["id"] for step in planned["steps"]] == ["agent-2/start-machine"]
        assert "its disk is kept" in planned["steps"][0]["reason"]
        made = site.expect(0, "apply", "--yes", "-o", "json").steps
        # It starts K3s by itself; whether that is still planned for, or waited for, is a matter of moments.
        assert {"agent-2/start-machine"} <= set(made) <= {"agent-2/start-machine", "agent-2/apply-agent"}
        assert all(changes in ([], ["wait:k3s-agent"]) for changes in made.values()), made
    finally:
        machines.start(site.set, ["agent-2"])
    assert site.fingerprint().nodes == fingerprint.nodes


def test_labels_of_a_member_change_through_the_api(site: Site) -> None:
    def label() -> str | None:
        nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in site.get("nodes")}
        return nodes["agent-1"].get("example.org/disk")

    role = "      role: agent\n"
    with site.edited((role, role + '      labels: {example.org/disk: "ssd"}\n')):
        planned = site.expect(3, "plan", "--exit-code", "-o", "json").document["plan"]["steps"]
        assert all(step["impact"] != "disrupt" for step in planned), planned
        assert {f"{name}/label-node" for name in ("agent-1", "agent-2")} <= {step["id"] for step in planned}
        site.expect(0, "apply", "--yes")
        assert label() == "ssd"
        assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out
    site.expect(0, "apply", "--yes")
    assert label() is None
    assert "Nothing to change." in site.expect(0, "plan", "--exit-code").out


def test_status_and_validate(site: Site) -> None:
    status = site.expect(0, "status", "-o", "json").document
    assert [(host["name"], host["machine"], host["service"], host["ready"]) for host in status["hosts"]] == [
        (name, "running", "active", True) for name in NAMES
    ]
    there = pods(site)
    quick = site.expect(0, "validate", "--quick", "-o", "json").document
    assert pods(site) <= there
    assert (quick["scope"], quick["passed"]) == ("quick", True)
    full = site.expect(0, "validate", "-o", "json").document
    tried = {(check["id"], check["subject"]) for check in full["checks"] if check["passed"]}
    assert {(check, name) for check in ("pod.runs", "pod.dns", "pod.reaches") for name in NAMES} <= tried
    assert pods(site) <= there


def test_kubeconfig_is_for_this_computer(site: Site) -> None:
    shown = site.expect(0, "kubeconfig").out.strip()
    assert shown == str(site.workspace / "kubeconfig")
    assert site.kubectl("config", "current-context").strip() == "local"
    assert site.machine("server-1").address in site.kubectl("cluster-info")


def test_two_at_once_are_refused(site: Site) -> None:
    """The first one holds the cluster while it asks; the second one names it and touches nothing."""
    with site.on_terminal("destroy") as first:
        first.until("Type the cluster's name")
        second = site.expect(7, "apply", "--yes")
        assert f"process {first.process.pid}: pk3s destroy" in second.err
        first.type("no")
        assert first.end() == 4
        assert "machine server-1, with its disk" in first.shown
    site.expect(0, "plan", "--exit-code")


def test_a_wiped_server_founds_no_second_cluster(site: Site, may_start_anew: set[str]) -> None:
    """Its datastore is gone and agents live: refused before anything is changed, also where cluster.lock is lost."""
    may_start_anew.update(NAMES)
    data = "/var/lib/rancher/k3s/server"
    site.on("server-1", f"systemctl stop k3s && mv {data} {data}.away")
    lock = (site.path / "cluster.lock").read_bytes()
    try:
        assert "cluster.second" in site.expect(4, "plan").out
        assert "cluster.second" in site.expect(4, "apply", "--yes").out
        (site.path / "cluster.lock").unlink()
        refused = site.expect(4, "apply", "--yes").out
        assert "cluster.second" in refused
        assert "other hosts are already members of one" in refused
        assert site.on("server-1", f"test -e {data} || echo nothing") == "nothing"
    finally:
        (site.path / "cluster.lock").write_bytes(lock)
        site.on("server-1", f"rm -rf {data}; mv {data}.away {data}; systemctl start --no-block k3s")
        lab_bed.until(lambda: lab_bed.state(site.bed, site.machine("server-1"), "k3s") == "active", 60, "k3s active")
        ready = lambda: lab_bed.ready_nodes(site.bed, site.machine("server-1")) == set(NAMES)  # noqa: E731
        lab_bed.until(ready, 60, "all nodes Ready")
    site.expect(0, "apply", "--yes")


# Secrets


@pytest.fixture(scope="module")
def secrets(made: Cluster) -> dict[str, bytes]:
    """What must be seen nowhere, by name: passwords of tokens, and the private key in the kubeconfig."""
    site = made.site
    folder = "/var/lib/rancher/k3s/server"
    tokens = {
        "server token": site.on("server-1", "cat /etc/rancher/k3s/server.token"),
        "agent token": site.on("server-1", "cat /etc/rancher/k3s/agent.token"),
        "secure server token": site.on("server-1", f"cat {folder}/token"),
        "secure agent token": site.on("server-1", f"cat {folder}/agent-token"),
        "token of an agent": site.on("agent-1", "cat /etc/rancher/k3s/agent.token"),
        "node password": site.on("agent-1", "cat /etc/rancher/node/password"),
    }
    # Of a secure token the CA's hash is public; what follows the last colon is not.
    found = {name: text.strip().rpartition(":")[2].encode() for name, text in tokens.items()}
    assert found["server token"] == found["secure server token"]
    assert found["agent token"] == found["secure agent token"] == found["token of an agent"]
    user = json.loads(site.kubectl("config", "view", "--raw", "-o", "json"))["users"][0]["user"]
    found["client key"] = user["client-key-data"].encode()
    found["operator key"] = (site.workspace / "operator_key").read_bytes().splitlines()[2]
    assert all(len(value) >= 16 for value in found.values()), found.keys()
    return found


def names_in(text: bytes, secrets: dict[str, bytes]) -> list[str]:
    return [name for name, value in secrets.items() if value in text]


def test_no_secret_is_said_or_written_down(made: Cluster, secrets: dict[str, bytes]) -> None:
    site = made.site
    said = [made.first.out, made.first.err]
    for words in (("plan",), ("plan", "-o", "json"), ("status", "-o", "json"), ("validate", "--quick", "-o", "json")):
        done = site.pk3s(*words)
        said += [done.out, done.err]
    with site.edited(WITH_A_FLAG):
        said += [site.pk3s("plan").out, site.pk3s("plan", "-o", "json").out]
    assert names_in("\n".join(said).encode(), secrets) == []
    for path in site.path.rglob("*"):
        private = path.name in {"kubeconfig", "operator_key", "key"} or site.tool.parent in path.parents
        if path.is_file() and not private:
            assert names_in(path.read_bytes(), secrets) == [], path
        if path.is_file() and private:
            assert path.stat().st_mode & 0o077 == 0, path


def test_no_secret_was_in_an_argument_vector(made: Cluster, secrets: dict[str, bytes]) -> None:
    looked = b"\n".join(made.vectors)
    # It did see the programs on the machines as well as those of this computer.
    assert b"exec(eval(input()))" in looked
    assert b"productive_k3s_infra\0apply" in looked
    assert names_in(looked, secrets) == []


@pytest.mark.parametrize("name", ["server-1", "agent-1"])
def test_no_secret_lies_where_others_can_read_it(site: Site, secrets: dict[str, bytes], name: str) -> None:
    """Asked as the user nobody; the patterns come on standard input and stay in memory."""
    patterns = b"\n".join(secrets.values())
    find = "find / /run /tmp /var/lib/rancher -xdev -type f -readable -size -4M -print0"
    script = (
        "set -e; umask 077; work=$(mktemp -d -p /dev/shm); trap 'rm -rf $work' EXIT; cat > $work/patterns; "
        f"(setpriv --reuid=65534 --regid=65534 --clear-groups {find} 2>/dev/null || true) > $work/list; "
        "tr -dc '\\0' < $work/list | wc -c; xargs -0 -a $work/list grep -lF -f $work/patterns -- || true"
    )
    said = site.bed.ssh(site.machine(name), script, data=patterns).splitlines()
    assert int(said[0]) > 1000
    assert said[1:] == []


def test_no_secret_is_left_in_temporary_files_here(site: Site, secrets: dict[str, bytes]) -> None:
    for folder in (site.path / ".tmp", Path("/dev/shm")):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert [path for path in files if names_in(path.read_bytes(), secrets)] == []
    pattern = subprocess.run(
        ("grep", "-slF", "-f", "-", "-d", "skip", "-D", "skip", *map(str, Path("/tmp").iterdir())),
        input=b"\n".join(secrets.values()),
        capture_output=True,
        check=False,
    )
    assert pattern.stdout == b""
