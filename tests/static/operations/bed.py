"""Operations on this computer alone: a cluster of hosts that do what they are asked, a provider, a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.facts import Facts, NodeFact
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.plan.changes import assess
from productive_k3s_infra.artifacts.release import Resolved
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.inventory.model import Endpoint, Location
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.providers.protocol import Survey, SurveyedMachine
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.directory import Workspace
from static.contract_program.hosts import TOKEN, after
from static.fleet_doubles import Call, FakeFleet, FakeProvider
from static.plan.clusters import empty_host, situation

VALID = Report("edge", "full", (CheckResult("node.ready", "server-1", True, "error", "Ready"),))
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: ''}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
users: [{name: default, user: {}}]
"""


class Person:
    """Implements Interaction: agrees or not, and keeps what was said and asked."""

    def __init__(self, *, agrees: bool = True, unattended: bool = False) -> None:
        self.agrees = agrees
        self.unattended = unattended
        self.notes: list[str] = []
        self.asked: list[Plan] = []
        self.dies: list[tuple[str, ...]] = []
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, bool]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def started(self, subject: str, activity: str) -> None:
        self.begun.append((subject, activity))

    def progressed(self, subject: str, activity: str) -> None: ...

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None:
        self.ended.append((subject, failed))

    def dropped(self, subject: str, activity: str) -> None: ...

    def agree(self, plan: Plan) -> bool:
        self.asked.append(plan)
        return self.agrees

    def agree_to_destroy(self, cluster: str, dies: tuple[str, ...]) -> bool:
        self.dies.append(dies)
        return self.agrees

    def trust_host_key(self, host: str, keys: tuple[str, ...]) -> bool:
        return False

    def sudo_password(self, host: str) -> Secret | None:
        return None


class World:
    """Hosts with their facts, which follow what they are asked; each verb may be answered otherwise in `instead`."""

    def __init__(self, folder: Path, spec: ClusterSpec, *, machines: Survey | None = None) -> None:
        self.before = situation(spec)
        self.facts: dict[str, Facts] = dict(self.before.facts)
        self.instead: dict[str, Callable[[Call], Result]] = {}
        self.fleet = FakeFleet(dict.fromkeys(self.facts, self.answer))
        located = tuple(
            SurveyedMachine(host.name, "running", Location(host.address, Endpoint(host.address)))
            for host in self.before.inventory.hosts
        )
        self.provider = FakeProvider(
            machines or Survey(False, located),
            addresses={host.name: host.address for host in self.before.inventory.hosts},
        )
        self.person = Person()
        self.session = Session(spec, Workspace(folder / "cluster.yaml", spec.name), self.provider, self.person)

    def refuse(self, **errors: Pk3sError) -> None:
        """Let hosts not be reached (`agent_1=HostUnreachable(...)`)."""
        self.fleet.refuses = {name.replace("_", "-"): error for name, error in errors.items()}

    def answer(self, call: Call) -> Result:
        """Do what is asked."""
        if call.verb in self.instead:
            return self.instead[call.verb](call)
        if call.verb in ("server", "agent"):
            return self._apply(call)
        if call.verb == "uninstall":
            self.facts[call.host] = empty_host(call.host, _address(self.facts[call.host]))
            return Result("done", facts=self.facts[call.host])
        if call.verb == "token":
            return Result("done", data={"agent": TOKEN})
        if call.verb == "kubeconfig":
            return Result("done", data={"kubeconfig": KUBECONFIG})
        if call.verb == "node":
            self._node(call)
            return Result("done")
        return Result("done", facts=self.facts[call.host])

    def verbs(self, *, looks: bool = False) -> list[tuple[str, str]]:
        """What was asked of whom, without the looks."""
        return [(call.host, call.verb) for call in self.fleet.calls if looks or call.verb != "facts"]

    def _apply(self, call: Call) -> Result:
        request: Request = decode(Request, call.document)
        facts = self.facts[call.host]
        changes = assess(request, facts, planning=True).changes
        for change in changes:
            facts = after(request, facts, change)
        self.facts[call.host] = facts
        if call.verb == "agent":
            self._join(call.host, request)
        data = {"agent": TOKEN} if "--tokens" in call.arguments else None
        return Result("done", changes=changes, facts=facts, data=data)

    def _join(self, name: str, request: Request) -> None:
        server = self.facts["server-1"]
        assert server.cluster is not None
        nodes = tuple(node for node in server.cluster.nodes if node.name != name)
        known = next((node for node in server.cluster.nodes if node.name == name), nodes[0])
        joined = replace(known, name=name, roles=(), labels=dict(request.labels))
        self.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=(*nodes, joined)))

    def _node(self, call: Call) -> None:
        server = self.facts["server-1"]
        assert server.cluster is not None
        action, name = call.arguments[:2]
        nodes = tuple(node for node in server.cluster.nodes if action != "remove" or node.name != name)
        nodes = tuple(_cordoned(node, call) if node.name == name else node for node in nodes)
        self.facts["server-1"] = replace(server, cluster=replace(server.cluster, nodes=nodes))


def _cordoned(node: NodeFact, call: Call) -> NodeFact:
    """Whose cordon it is stays as the host program has it."""
    action, by_apply = call.arguments[0], "--by-apply" in call.arguments
    if action in ("cordon", "drain"):
        own = node.own_cordon or node.schedulable
        return replace(node, schedulable=False, own_cordon=by_apply and own)
    if action == "uncordon" and (node.own_cordon or not by_apply):
        return replace(node, schedulable=True, own_cordon=False)
    return node


def enter(world: World, monkeypatch: pytest.MonkeyPatch, report: Report = VALID) -> None:
    """Let operations work in this world: its fleet, its release; a validation finds `report`."""
    monkeypatch.setattr("productive_k3s_infra.operations.session.SshFleet", lambda *_, **__: world.fleet)
    resolved = Resolved(world.before.files, {})
    monkeypatch.setattr("productive_k3s_infra.operations.observe.resolve_release", lambda *_, **__: resolved)

    async def found(*_: object, **__: object) -> Report:
        return report

    monkeypatch.setattr("productive_k3s_infra.operations.afterwards.validate_with", found)


def _address(facts: Facts) -> str:
    return facts.host.interfaces[0].addresses[0].partition("/")[0]
