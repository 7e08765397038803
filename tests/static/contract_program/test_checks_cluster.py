"""What is judged of nodes and system pods."""

from __future__ import annotations

from dataclasses import replace

import pytest

from productive_k3s.checks.judgement import shortened
from productive_k3s.checks.nodes import (
    NodeRequirements,
    NodeStates,
    conditions,
    expected_or_shown,
    judge_nodes,
    missing,
)
from productive_k3s.checks.pods import judge_system_pods, system_troubles, warnings
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.expectation import ExpectedNode
from productive_k3s.contract.facts import NodeFact
from productive_k3s.facts.pods import trouble
from static.contract_program.hosts import VERSION

SERVER = NodeFact("s1", "uid-s", True, True, ("control-plane", "etcd"), VERSION, "10.0.0.11", 0.0, etcd_voter=True)
AGENT = NodeFact("a1", "uid-a", True, True, (), VERSION, "10.0.0.21", 0.0)
WANTED = (ExpectedNode("s1", "server", "10.0.0.11"), ExpectedNode("a1", "agent", "10.0.0.21"))
STANDARD = NodeRequirements(VERSION, etcd=True)


def judged(*nodes: NodeFact, row: int = 3, objects: dict[str, object] | None = None) -> dict[str, CheckResult]:
    in_a_row = {node.name: row for node in nodes}
    states = NodeStates(nodes, in_a_row, 60.0, objects or {})  # type: ignore[arg-type]
    return {f"{check.id} {check.subject}": check for check in judge_nodes(WANTED, states, STANDARD, 3)}


def bad(checks: dict[str, CheckResult]) -> dict[str, str]:
    return {name: check.severity for name, check in checks.items() if not check.passed}


def test_the_nodes_that_shall_be_there_are() -> None:
    checks = judged(SERVER, AGENT)
    assert bad(checks) == {}
    questions = ("present", "ready", "role", "address", "version")
    assert set(checks) == {f"node.{what} {name}" for what in questions for name in ("s1", "a1")} | {
        "node.etcd-voter s1"
    }


@pytest.mark.parametrize(
    ("nodes", "wrong"),
    [
        ((SERVER,), {"node.present a1": "error"}),
        ((SERVER, replace(AGENT, name="a2")), {"node.present a1": "error", "node.unexpected a2": "warning"}),
        ((SERVER, AGENT, replace(AGENT, name="a2", ready=False)), {"node.unexpected a2": "error"}),
        ((SERVER, replace(AGENT, ready=False)), {"node.ready a1": "error"}),
        ((SERVER, replace(AGENT, version="v1.33.1+k3s1")), {"node.version a1": "error"}),
        ((SERVER, replace(AGENT, internal_ip="10.0.0.99")), {"node.address a1": "error"}),
        ((SERVER, replace(AGENT, roles=("control-plane",))), {"node.role a1": "error"}),
        ((replace(SERVER, roles=("etcd",)), AGENT), {"node.role s1": "error"}),
        ((replace(SERVER, etcd_voter=None), AGENT), {"node.etcd-voter s1": "error"}),
        ((replace(SERVER, etcd_voter=False), AGENT), {"node.etcd-voter s1": "error"}),
        ((SERVER, replace(AGENT, schedulable=False)), {"node.schedulable a1": "warning"}),
    ],
)
def test_each_difference_is_one_check(nodes: tuple[NodeFact, ...], wrong: dict[str, str]) -> None:
    assert bad(judged(*nodes)) == wrong


def test_ready_must_hold_and_the_conditions_say_why_not() -> None:
    assert bad(judged(SERVER, AGENT, row=2)) == {"node.ready s1": "error", "node.ready a1": "error"}
    condition = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped"}
    node = {"status": {"conditions": [condition, {"type": "DiskPressure", "status": "False"}]}}
    checks = judged(SERVER, replace(AGENT, ready=False), objects={"a1": node})
    assert checks["node.ready a1"].evidence == "Ready=Unknown (NodeStatusUnknown: Kubelet stopped)"


def test_without_an_address_or_version_any_will_do() -> None:
    states = NodeStates((AGENT,), {"a1": 1}, 1.0)
    checks = judge_nodes((ExpectedNode("a1", "agent"),), states, NodeRequirements("", etcd=True), 1)
    assert {check.id for check in checks} == {"node.present", "node.ready", "node.role"}


def test_without_etcd_nobody_asks_for_votes() -> None:
    requirements = NodeRequirements(VERSION, etcd=False)
    assert missing(WANTED[0], replace(SERVER, etcd_voter=None), requirements) == ""
    assert "not an etcd voter" in missing(WANTED[0], replace(SERVER, etcd_voter=None), STANDARD)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (None, "is not there"),
        (replace(AGENT, ready=False), "is not Ready"),
        (replace(AGENT, version="v1.33.1+k3s1"), ""),
        (replace(AGENT, roles=("control-plane",)), ""),
        (AGENT, ""),
    ],
)
def test_what_a_wait_may_mend(node: NodeFact | None, said: str) -> None:
    assert said in missing(WANTED[1], node, STANDARD)
    assert bool(missing(WANTED[1], node, STANDARD)) == bool(said)


def test_nobody_said_which_nodes() -> None:
    assert expected_or_shown((), (SERVER, AGENT)) == (ExpectedNode("s1", "server"), ExpectedNode("a1", "agent"))
    assert expected_or_shown(WANTED, (SERVER,)) == WANTED


def test_only_conditions_that_are_bad_are_evidence() -> None:
    node = {
        "status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "True", "reason": "Low", "message": "little is left"},
                {"type": "PIDPressure", "status": "False"},
                {"type": "Ready", "status": "True"},
            ]
        }
    }
    assert conditions(node) == "MemoryPressure=True (Low: little is left)"
    assert conditions({}) == ""


def pod(name: str = "p", phase: str = "Running", *, ready: bool = True, owner: str = "", **status: object) -> dict:  # type: ignore[type-arg]
    condition = {"type": "Ready", "status": str(ready), "reason": "" if ready else "ContainersNotReady"}
    owners = [{"uid": owner}] if owner else []
    return {
        "metadata": {"namespace": "kube-system", "name": name, "ownerReferences": owners},
        "status": {"phase": phase, "conditions": [condition], **status},
    }


def waiting(reason: str, message: str = "", **last: int) -> list[dict[str, object]]:
    state = {"waiting": {"reason": reason, "message": message}}
    return [{"name": "c", "state": state, "lastState": {"terminated": last} if last else {}}]


DNS = {
    **pod("coredns-1"),
    "metadata": {"namespace": "kube-system", "name": "coredns-1", "labels": {"k8s-app": "kube-dns"}},
}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pod(), ""),
        (pod(phase="Succeeded", ready=False), ""),
        ({**pod(ready=False), "metadata": {"deletionTimestamp": "now"}}, ""),
        (pod(phase="Failed", ready=False, reason="Evicted", message="low on disk"), "Failed: Evicted: low on disk"),
        (
            pod(phase="Pending", ready=False, containerStatuses=waiting("ImagePullBackOff", "no such host")),
            "c: ImagePullBackOff: no such host",
        ),
        (
            pod(ready=False, containerStatuses=waiting("CrashLoopBackOff", "back-off", exitCode=2)),
            "c: CrashLoopBackOff: back-off (exit code 2)",
        ),
        (
            pod(phase="Pending", ready=False, initContainerStatuses=waiting("ErrImagePull")),
            "c: ErrImagePull",
        ),
        (
            pod(phase="Pending", ready=False, containerStatuses=waiting("ContainerCreating")),
            "Pending, not ready: ContainersNotReady",
        ),
        (
            {
                "status": {
                    "phase": "Pending",
                    "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1"}],
                }
            },
            "not scheduled: 0/1",
        ),
        ({}, "Pending, not ready"),
    ],
)
def test_the_trouble_of_a_pod(found: dict[str, object], said: str) -> None:
    assert trouble(found) == said


def test_a_failed_pod_whose_controller_has_another_is_history() -> None:
    failed = pod("old", "Failed", ready=False, owner="set", reason="Evicted")
    assert system_troubles((failed, pod("new", owner="set")), dns=False) == ()
    assert system_troubles((failed, pod("new", owner="other")), dns=False) == (("kube-system/old", "Failed: Evicted"),)
    assert system_troubles((failed, pod("new")), dns=False) == (("kube-system/old", "Failed: Evicted"),)


def test_coredns_must_be_there_unless_it_is_switched_off() -> None:
    assert system_troubles((), dns=False) == ()
    assert system_troubles((DNS,), dns=True) == ()
    assert system_troubles((pod(),), dns=True) == (("kube-system/coredns", "there is no CoreDNS pod"),)


def test_system_pods_are_one_check_or_one_for_each_in_trouble() -> None:
    assert [check.passed for check in judge_system_pods((DNS, pod()), {}, 1.0, dns=True)] == [True]
    (check,) = judge_system_pods(
        (DNS, pod("broken", ready=False)), {"broken": "FailedCreate: no sandbox"}, 60.0, dns=True
    )
    assert (check.subject, check.severity, check.passed) == ("kube-system/broken", "error", False)
    assert check.evidence == "FailedCreate: no sandbox (Running, not ready: ContainersNotReady)"
    assert "describe pod broken" in check.remedy


def test_long_evidence_keeps_its_beginning_and_its_end() -> None:
    text = shortened("who complains: " + "x" * 1000 + " no such file")
    assert len(text) <= 400
    assert text.startswith("who complains: x")
    assert text.endswith("x no such file")


def event(name: str, at: str | None, reason: str, kind: str = "Warning") -> dict[str, object]:
    return {"type": kind, "reason": reason, "message": "m", "lastTimestamp": at, "involvedObject": {"name": name}}


def test_the_last_warning_on_each_object() -> None:
    events = (
        event("a", "2026-01-01T00:00:05Z", "Later"),
        event("a", "2026-01-01T00:00:01Z", "Earlier"),
        event("a", "2026-01-01T00:00:09Z", "Scheduled", kind="Normal"),
        event("b", None, "Timeless"),
    )
    assert warnings(events) == {"a": "Later: m", "b": "Timeless: m"}
