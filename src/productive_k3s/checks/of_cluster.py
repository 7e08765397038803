"""The quick part: look at the API, the nodes and K3s' own pods until all is well, or the time is up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Tuple

from productive_k3s.checks import of_nodes, of_pods
from productive_k3s.checks.expectation import Expectation, ExpectedNode
from productive_k3s.checks.judgement import failed, judged
from productive_k3s.checks.of_host import config_words, host_name
from productive_k3s.checks.of_nodes import Sighting, Standard
from productive_k3s.checks.of_pods import SYSTEM_NAMESPACE, Pod
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.facts import ClusterFacts, Facts
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import ReadingHost
from productive_k3s.doors.kube import KubeReading

_SAY_SECONDS = 2.0
_SHORTEST_INTERVAL_SECONDS = 0.05
_JOINING_FACTOR = 3.0


@dataclass(frozen=True)
class Seen:
    """What one look saw. `readiness` is '' or what /readyz says; `pods_error` why the system pods are not known."""

    readiness: str
    cluster: ClusterFacts
    pods: Tuple[Pod, ...] = ()
    pods_error: str = ""
    expected: Tuple[ExpectedNode, ...] = ()
    in_a_row: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Closer:
    """What names causes. `nodes` are the objects of those not found right, `warnings` those on system pods."""

    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


OnLook = Callable[[Seen], Awaitable[None]]


async def watch_cluster(
    host: ReadingHost, kube: KubeReading, facts: Facts, wanted: Expectation, on_look: Optional[OnLook] = None
) -> Tuple[Seen, float]:
    """Look until all that is expected was found `ready_in_a_row` times, or the time is up; return the last look.

    `on_look` is called after every look.
    """
    system = host.system
    began, said, seen = await system.monotonic(), 0.0, Seen("", ClusterFacts(False))
    while True:
        seen = await _look(kube, facts, wanted, seen)
        if on_look is not None:
            await on_look(seen)
        lacking = _lacking(seen, facts, wanted)
        now = await system.monotonic()
        if not lacking or now - began >= wanted.deadline:
            return seen, now - began
        if now - said >= _SAY_SECONDS or said == 0.0:
            host.emit("waiting", lacking)
            said = now
        host.require_going_on()
        # Nodes that are still on their way need the host's processors more than they need to be looked at.
        factor = _JOINING_FACTOR if wanted.joining and _are_missing(seen) else 1.0
        await system.sleep(max(wanted.interval * factor, _SHORTEST_INTERVAL_SECONDS))


async def _look(kube: KubeReading, facts: Facts, wanted: Expectation, before: Seen) -> Seen:
    seen = Seen(await kube.readiness(), await kube.cluster())
    if not seen.cluster.reachable:
        return seen
    expected = of_nodes.expected_or_shown(wanted.nodes, seen.cluster.nodes)
    found = {node.name: node for node in seen.cluster.nodes}
    asked = standard(facts, wanted)
    row: Dict[str, int] = {}
    for item in expected:
        right = not of_nodes.missing(item, found.get(item.name), asked)
        row[item.name] = before.in_a_row.get(item.name, 0) + 1 if right else 0
    try:
        pods, error = await kube.pods(SYSTEM_NAMESPACE), ""
    except ContractError as refused:
        pods, error = (), refused.failure.evidence or refused.failure.what
    return replace(seen, expected=expected, in_a_row=row, pods=pods, pods_error=error)


def _are_missing(seen: Seen) -> bool:
    """PURE: return whether an expected node is not Ready."""
    ready = {node.name for node in seen.cluster.nodes if node.ready}
    return any(item.name not in ready for item in seen.expected)


def standard(facts: Facts, wanted: Expectation) -> Standard:
    """PURE: return what is asked of every node."""
    return Standard(wanted.version or facts.k3s.binary_version, facts.k3s.datastore == "etcd")


def has_dns(facts: Facts) -> bool:
    """PURE: return whether K3s deploys its CoreDNS here."""
    return "coredns" not in config_words(facts.k3s.config, "disable")


def _lacking(seen: Seen, facts: Facts, wanted: Expectation) -> str:
    """PURE: return the first thing that is not as expected yet, '' if all is."""
    if not seen.cluster.reachable or seen.readiness:
        return f"the API: {seen.readiness or seen.cluster.evidence or 'no answer'}"
    found = {node.name: node for node in seen.cluster.nodes}
    asked = standard(facts, wanted)
    for item in seen.expected:
        if seen.in_a_row[item.name] < wanted.ready_in_a_row:
            still = of_nodes.missing(item, found.get(item.name), asked)
            return still or f"{item.name} is Ready, {seen.in_a_row[item.name]} times in a row"
    troubles = of_pods.system_troubles(seen.pods, dns=has_dns(facts))
    return seen.pods_error or ("" if not troubles else f"{troubles[0][0]}: {troubles[0][1]}")


def judge_cluster(
    facts: Facts, wanted: Expectation, seen: Seen, seconds: float, closer: Closer
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
    sighting = Sighting(seen.cluster.nodes, seen.in_a_row, seconds, closer.nodes)
    nodes = of_nodes.judge_nodes(seen.expected, sighting, standard(facts, wanted), wanted.ready_in_a_row)
    if seen.pods_error:
        what = "K3s' own pods cannot be listed"
        return (api, *nodes, failed("system.pods", SYSTEM_NAMESPACE, what, seen.pods_error, remedy))
    return (api, *nodes, *of_pods.judge_system_pods(seen.pods, closer.warnings, seconds, dns=has_dns(facts)))


async def look_closer(kube: KubeReading, seen: Seen, wanted: Expectation) -> Closer:
    """Read what names causes: the Nodes that were not found right, and the warnings about K3s' own pods."""
    if not seen.cluster.reachable:
        return Closer()
    wrong = [name for name, times in seen.in_a_row.items() if times < wanted.ready_in_a_row]
    nodes = {name: await _read(kube, f"/api/v1/nodes/{name}") for name in wrong}
    return Closer(nodes, await read_warnings(kube, SYSTEM_NAMESPACE))


async def read_warnings(kube: KubeReading, namespace: str) -> Mapping[str, str]:
    """Return the last warning on each object of a namespace; none if they cannot be had: they only explain."""
    found = await _read(kube, f"/api/v1/namespaces/{namespace}/events?fieldSelector=type%3DWarning&limit=500")
    return of_pods.warnings(found.get("items") or ())


async def _read(kube: KubeReading, path: str) -> Mapping[str, Any]:
    try:
        return await kube.get(path)
    except ContractError:
        return {}
