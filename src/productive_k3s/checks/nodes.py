"""PURE: are the nodes there that shall be, are they Ready, and are they what they shall be?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence, Tuple

from productive_k3s.checks.judgement import failed, judged, passed, warned
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.expectation import ExpectedNode
from productive_k3s.contract.facts import NodeFact

_CONTROL_PLANE = "control-plane"
# The conditions of a Node that are good when they are not True (Kubernetes, reference/node/node-status).
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@dataclass(frozen=True)
class NodeRequirements:
    """What is asked of every node: its kubelet's version ('': any), and of servers whether they vote in etcd."""

    version: str
    etcd: bool


@dataclass(frozen=True)
class NodeStates:
    """The nodes at the end of a wait. `in_a_row`: how often each was found right; `objects`: of those that were not."""

    nodes: Tuple[NodeFact, ...]
    in_a_row: Mapping[str, int]
    seconds: float
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def expected_or_shown(expected: Sequence[ExpectedNode], nodes: Sequence[NodeFact]) -> Tuple[ExpectedNode, ...]:
    """Return the nodes that shall be there: if nobody said which, those that the API shows."""
    if expected:
        return tuple(expected)
    return tuple(ExpectedNode(node.name, role(node)) for node in nodes)  # type: ignore[arg-type]


def role(node: NodeFact) -> str:
    """Return what the Node's labels say it is."""
    return "server" if _CONTROL_PLANE in node.roles else "agent"


def missing(wanted: ExpectedNode, node: Optional[NodeFact], requirements: NodeRequirements) -> str:
    """Return what a wait may still mend, '' if nothing: right after a start no vote is shown."""
    if node is None:
        return f"{wanted.name} is not there"
    if not node.ready:
        return f"{wanted.name} is not Ready"
    if wanted.role == "server" and requirements.etcd and not node.etcd_voter:
        return f"{wanted.name} is not an etcd voter"
    return ""


def unsettled(wanted: ExpectedNode, node: Optional[NodeFact], requirements: NodeRequirements) -> str:
    """Return what may be wrong for seconds after a start, '' if nothing: later no wait mends a version or a role."""
    if node is None:
        return ""
    if requirements.version and node.version != requirements.version:
        return f"{wanted.name} reports {node.version}"
    return f"{wanted.name} does not have the role {wanted.role}" if role(node) != wanted.role else ""


def judge_nodes(
    expected: Sequence[ExpectedNode], states: NodeStates, requirements: NodeRequirements, wanted_in_a_row: int
) -> Tuple[CheckResult, ...]:
    """Return the checks of all expected nodes, and of those that nobody expects."""
    found = {node.name: node for node in states.nodes}
    checks = []
    for wanted in expected:
        node = found.get(wanted.name)
        if node is None:
            seen = f"the API shows {', '.join(sorted(found)) or 'no node'}"
            remedy = "see journalctl -u k3s (k3s-agent) on that host"
            checks.append(failed("node.present", wanted.name, "is not in the cluster", seen, remedy))
        else:
            checks.extend(_judge_node(wanted, node, states, requirements, wanted_in_a_row))
    names = {wanted.name for wanted in expected}
    checks.extend(_unexpected(node) for node in states.nodes if node.name not in names)
    return tuple(checks)


def _judge_node(
    wanted: ExpectedNode, node: NodeFact, states: NodeStates, requirements: NodeRequirements, wanted_in_a_row: int
) -> Tuple[CheckResult, ...]:
    name = node.name
    checks = [
        passed("node.present", name, f"is in the cluster (uid {node.uid})"),
        _ready(node, states, wanted_in_a_row),
        judged(
            "node.role",
            name,
            good=role(node) == wanted.role,
            messages=(f"is {_a(wanted.role)}", f"is {_a(role(node))}, expected {_a(wanted.role)}"),
            evidence=f"roles: {', '.join(node.roles) or 'none'}",
            remedy="a node keeps the role it joined with: remove it, then let it join again",
        ),
    ]
    if wanted.address:
        checks.append(
            judged(
                "node.address",
                name,
                good=node.internal_ip == wanted.address,
                messages=(f"at {node.internal_ip}", f"at {node.internal_ip}, expected {wanted.address}"),
                evidence=f"InternalIP {node.internal_ip}",
                remedy="does another host use this name? If not, correct node-ip or the expected address",
            )
        )
    if requirements.version:
        checks.append(
            judged(
                "node.version",
                name,
                good=node.version == requirements.version,
                messages=(node.version, f"{node.version}, expected {requirements.version}"),
                evidence=f"kubeletVersion {node.version}",
                remedy="is the expected binary installed there, and has K3s been restarted?",
            )
        )
    if wanted.role == "server" and requirements.etcd:
        checks.append(_voter(node))
    if not node.schedulable:
        remedy = f"productive-k3s node uncordon {name}, on a server, if no maintenance is in progress"
        checks.append(warned("node.schedulable", name, "takes no new pods", "it is cordoned", remedy))
    return tuple(checks)


def _a(word: str) -> str:
    return f"{'an' if word == 'agent' else 'a'} {word}"


def _ready(node: NodeFact, states: NodeStates, wanted: int) -> CheckResult:
    times = states.in_a_row.get(node.name, 0)
    if node.ready and times >= wanted:
        return passed("node.ready", node.name, f"Ready, {wanted} checks in a row")
    seen = conditions(states.objects.get(node.name, {}))
    remedy = "check the node's conditions, and journalctl -u k3s (k3s-agent) on that host"
    if not node.ready:
        what = f"is not Ready after {states.seconds:.0f} s"
        return failed("node.ready", node.name, what, seen or "it reports no conditions", remedy)
    if times > 0:
        what = f"was Ready {times} of {wanted} checks in a row after {states.seconds:.0f} s"
        return failed("node.ready", node.name, what, seen, remedy)
    # Ready all along, and something else about it is wrong: that check says what.
    return passed("node.ready", node.name, "Ready")


def _voter(node: NodeFact) -> CheckResult:
    said = {True: "votes in etcd", False: "does not vote in etcd", None: "does not report whether it votes in etcd"}
    return judged(
        "node.etcd-voter",
        node.name,
        good=node.etcd_voter is True,
        messages=(said[True], said[node.etcd_voter]),
        evidence="condition EtcdIsVoter",
        remedy="a learner is promoted when it has caught up: see journalctl -u k3s on that host",
    )


def _unexpected(node: NodeFact) -> CheckResult:
    check, seen = "node.unexpected", f"{role(node)} at {node.internal_ip}, {'Ready' if node.ready else 'not Ready'}"
    if node.ready:
        remedy = "add it to the expected nodes, or remove it from the cluster"
        return warned(check, node.name, "is in the cluster, but is not expected", seen, remedy)
    what = "is in the cluster, but is neither expected nor Ready"
    return failed(check, node.name, what, seen, f"productive-k3s node remove {node.name}, on a server")


def conditions(node: Mapping[str, Any]) -> str:
    """Return the conditions of a Node object that are not as they should be."""
    bad = []
    for item in node.get("status", {}).get("conditions", ()):
        kind, status = item.get("type", ""), item.get("status", "")
        if (kind == "Ready" and status != "True") or (kind in _PRESSURES and status == "True"):
            bad.append(f"{kind}={status} ({item.get('reason', '')}: {item.get('message', '')})")
    return "; ".join(bad)
