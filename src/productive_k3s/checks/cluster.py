"""The quick part: look at the API, the nodes and K3s' own pods until all is well, or the time is up; then judge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Tuple

from productive_k3s.checks import controllers
from productive_k3s.checks.host import config_words, host_name
from productive_k3s.checks.judgement import failed, judged
from productive_k3s.checks.nodes import (
    NodeRequirements,
    NodeStates,
    expected_or_shown,
    judge_nodes,
    missing,
    unsettled,
)
from productive_k3s.checks.packaged import Packaged, expect_packaged, judge_packaged
from productive_k3s.checks.pods import SYSTEM_NAMESPACE, judge_system_pods, system_troubles, warnings
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.expectation import Expectation, ExpectedNode
from productive_k3s.contract.facts import ClusterFacts, Facts
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import ReadingHost
from productive_k3s.doors.kube import KubeReading
from productive_k3s.facts.pods import Pod
from productive_k3s.waits.loop import Bounds, Look, wait_until

_SHORTEST_INTERVAL_SECONDS = 0.05
_JOINING_FACTOR = 3.0
# A wrong version or role is shown for some seconds after a start; no longer wait mends it.
_SETTLE_SECONDS = 5.0
# K3s deploys its packaged components within some seconds of a start, Traefik by a job.
_DEPLOY_SECONDS = 30.0


@dataclass(frozen=True)
class ClusterState:
    """What one look saw. `readiness` is '' or what /readyz says; `pods_error` why the system pods are not known.

    `packaged` are the components that shall run. `in_a_row` says how often each expected node was found right, `leases`
    those by which controllers lead; `time` is the host's, in Unix seconds.
    """

    readiness: str
    cluster: ClusterFacts
    pods: Tuple[Pod, ...] = ()
    pods_error: str = ""
    expected: Tuple[ExpectedNode, ...] = ()
    in_a_row: Mapping[str, int] = field(default_factory=dict)
    leases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    time: float = 0.0
    packaged: Packaged = field(default_factory=Packaged)


@dataclass(frozen=True)
class Evidence:
    """What names causes. `nodes` are the objects of those not found right, `warnings` those on system pods."""

    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


OnState = Callable[[ClusterState], Awaitable[None]]


async def watch_cluster(
    host: ReadingHost, kube: KubeReading, facts: Facts, wanted: Expectation, on_state: Optional[OnState] = None
) -> Tuple[ClusterState, float]:
    """Look until all that is expected was found `ready_in_a_row` times, or the time is up; return the last look.

    `on_state` is called after every look. The seconds that it took are returned too.
    """
    packaged = await expect_packaged(host.system, facts, wanted.images)
    last = ClusterState("", ClusterFacts(False), packaged=packaged)

    async def look(seconds: float) -> Look[ClusterState]:
        nonlocal last
        last = await _look(host, kube, facts, wanted, last)
        if on_state is not None:
            await on_state(last)
        # Nodes that are still on their way need the host's processors more than they need to be looked at.
        slower = _JOINING_FACTOR if wanted.joining and _are_missing(last) else 1.0
        return Look(last, _lacking(last, facts, wanted, seconds), slower)

    # How often in a row is counted for each node, as one that comes and goes must not hold up what is said of others.
    bounds = Bounds(wanted.deadline, max(wanted.interval, _SHORTEST_INTERVAL_SECONDS))
    waited = await wait_until(host, look, bounds)
    return waited.found, waited.seconds


async def _look(
    host: ReadingHost, kube: KubeReading, facts: Facts, wanted: Expectation, before: ClusterState
) -> ClusterState:
    seen = ClusterState(await kube.readiness(), await kube.cluster(), packaged=before.packaged)
    if not seen.cluster.reachable:
        return seen
    expected = expected_or_shown(wanted.nodes, seen.cluster.nodes)
    found = {node.name: node for node in seen.cluster.nodes}
    asked = requirements(facts, wanted)
    row: Dict[str, int] = {}
    for item in expected:
        right = not missing(item, found.get(item.name), asked)
        row[item.name] = before.in_a_row.get(item.name, 0) + 1 if right else 0
    try:
        pods, error = await kube.pods(SYSTEM_NAMESPACE), ""
    except ContractError as refused:
        pods, error = (), refused.failure.evidence or refused.failure.what
    leases = {name: await _read(kube, controllers.lease_path(name)) for name in controllers.elected(facts.k3s)}
    now = await host.system.now()
    return replace(seen, expected=expected, in_a_row=row, pods=pods, pods_error=error, leases=leases, time=now)


def _are_missing(seen: ClusterState) -> bool:
    """PURE: return whether an expected node is not Ready."""
    ready = {node.name for node in seen.cluster.nodes if node.ready}
    return any(item.name not in ready for item in seen.expected)


def requirements(facts: Facts, wanted: Expectation) -> NodeRequirements:
    """PURE: return what is asked of every node."""
    return NodeRequirements(wanted.version or facts.k3s.binary_version, facts.k3s.datastore == "etcd")


def has_dns(facts: Facts) -> bool:
    """PURE: return whether K3s deploys its CoreDNS here."""
    return "coredns" not in config_words(facts.k3s.config, "disable")


def _lacking(seen: ClusterState, facts: Facts, wanted: Expectation, seconds: float) -> str:
    """PURE: return the first thing that is not as expected yet, '' if all is, or if no waiting will mend it."""
    if not seen.cluster.reachable or seen.readiness:
        return f"the API: {seen.readiness or seen.cluster.evidence or 'no answer'}"
    found = {node.name: node for node in seen.cluster.nodes}
    asked = requirements(facts, wanted)
    for item in seen.expected:
        if seen.in_a_row[item.name] < wanted.ready_in_a_row:
            still = missing(item, found.get(item.name), asked)
            looks = f"{seen.in_a_row[item.name]} of {wanted.ready_in_a_row} checks in a row"
            return still or f"{item.name} is Ready, {looks}"
        wrong = unsettled(item, found.get(item.name), asked)
        if wrong and seconds < _SETTLE_SECONDS:
            return wrong
    troubles = system_troubles(seen.pods, dns=has_dns(facts))
    if seen.pods_error or troubles:
        return seen.pods_error or f"{troubles[0][0]}: {troubles[0][1]}"
    undeployed = seen.packaged.missing(seen.pods)
    if undeployed and seconds < _DEPLOY_SECONDS:
        return f"{undeployed[0].name} is not deployed yet"
    return controllers.trouble(seen.leases, seen.time)


def judge_cluster(
    facts: Facts, wanted: Expectation, seen: ClusterState, seconds: float, evidence: Evidence
) -> Tuple[CheckResult, ...]:
    """PURE: return the checks of a last look."""
    remedy = "see journalctl -u k3s on this host"
    answers = not seen.readiness and seen.cluster.reachable
    said = seen.readiness or seen.cluster.evidence
    api = judged(
        "api.ready",
        host_name(facts),
        good=answers,
        messages=(f"the API is ready ({seen.cluster.version})", f"the API is not ready after {seconds:.0f} s"),
        evidence="" if answers else said or "it does not answer",
        remedy=remedy,
    )
    if not seen.cluster.reachable:
        return (api,)
    states = NodeStates(seen.cluster.nodes, seen.in_a_row, seconds, evidence.nodes)
    nodes = judge_nodes(seen.expected, states, requirements(facts, wanted), wanted.ready_in_a_row)
    led = controllers.judge_controllers(seen.leases, seen.time)
    if seen.pods_error:
        what = "K3s' own pods cannot be listed"
        return (api, *nodes, *led, failed("system.pods", SYSTEM_NAMESPACE, what, seen.pods_error, remedy))
    pods = judge_system_pods(seen.pods, evidence.warnings, seconds, dns=has_dns(facts))
    return (api, *nodes, *led, *pods, *judge_packaged(seen.packaged, seen.pods, seconds))


async def gather_evidence(kube: KubeReading, seen: ClusterState, wanted: Expectation) -> Evidence:
    """Read what names causes: the Nodes that were not found right, and the warnings about K3s' own pods."""
    if not seen.cluster.reachable:
        return Evidence()
    wrong = [name for name, times in seen.in_a_row.items() if times < wanted.ready_in_a_row]
    nodes = {name: await _read(kube, f"/api/v1/nodes/{name}") for name in wrong}
    return Evidence(nodes, await read_warnings(kube, SYSTEM_NAMESPACE))


async def read_warnings(kube: KubeReading, namespace: str) -> Mapping[str, str]:
    """Return the last warning on each object of a namespace; none if they cannot be had: they only explain."""
    found = await _read(kube, f"/api/v1/namespaces/{namespace}/events?fieldSelector=type%3DWarning&limit=500")
    return warnings(found.get("items") or ())


async def _read(kube: KubeReading, path: str) -> Mapping[str, Any]:
    try:
        return await kube.get(path)
    except ContractError:
        return {}
