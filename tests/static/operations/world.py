"""A cluster in memory: a provider that makes machines, hosts that do what a request says, and somebody who agrees."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.plan.changes import assess
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory, Location
from productive_k3s_infra.inventory.survey import Assumption, Survey, SurveyedMachine
from productive_k3s_infra.operations import session as sessions
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.assumed import assumed_facts
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.progress.interaction import Interaction
from productive_k3s_infra.providers.protocol import OnProgress
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.directory import Workspace
from static.contract_program.hosts import VERSION, after
from static.fleet_doubles import Call, FakeFleet

BINARY = b"a binary"
_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "default", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "default", "user": {}}],
    "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    "current-context": "default",
}


@dataclass
class Person:
    """Implements Interaction: agrees to everything, and remembers what was asked."""

    asked: list[str] = field(default_factory=list)
    unattended: bool = True

    def note(self, message: str) -> None: ...

    def started(self, subject: str, activity: str) -> None: ...

    def progressed(self, subject: str, activity: str) -> None: ...

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None: ...

    def dropped(self, subject: str, activity: str) -> None: ...

    def agree(self, plan: Plan) -> bool:
        self.asked.append(f"plan of {plan.cluster}")
        return True

    def agree_to_destroy(self, cluster: str, dies: tuple[str, ...]) -> bool:
        self.asked.append(f"destroy {cluster}")
        return True

    def trust_host_key(self, host: str, keys: tuple[str, ...]) -> bool:
        return False

    def sudo_password(self, host: str) -> Secret | None:
        return None


@dataclass
class World:
    """The machines of one cluster, by name; None where there is none. Implements Provider, and answers as the hosts."""

    cluster: str
    network: str
    machines: dict[str, Facts | None] = field(default_factory=dict)

    @property
    def ca_hash(self) -> str:
        return hashlib.sha256(self.cluster.encode()).hexdigest()

    async def survey(self) -> Survey:
        return Survey(owns_machines=True, machines=tuple(map(self._surveyed, self.machines)))

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        for name in names:
            self.machines[name] = self.empty(name)
        return await self.survey()

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        for name in names:
            self.machines[name] = None

    async def destroy_all(self, on_progress: OnProgress) -> None:
        await self.destroy(tuple(self.machines), on_progress)

    def fleet(self) -> FakeFleet:
        return FakeFleet({name: partial(self.answer, name) for name in self.machines})

    def _surveyed(self, name: str) -> SurveyedMachine:
        if self.machines[name] is None:
            return SurveyedMachine(name, "missing")
        return SurveyedMachine(name, "running", Location(self._address(name), Endpoint(self._address(name))))

    def _address(self, name: str) -> str:
        return f"{self.network}.{11 + list(self.machines).index(name)}"

    def empty(self, name: str) -> Facts:
        location = Location(self._address(name), Endpoint(self._address(name)))
        facts = assumed_facts(Host(name, "server", location.address, location.endpoint), Assumption())
        identity = hashlib.md5(f"{self.cluster}-{name}".encode(), usedforsecurity=False).hexdigest()
        return replace(facts, host=replace(facts.host, machine_id=identity))

    def answer(self, name: str, call: Call) -> Result:
        facts = self.machines[name]
        assert facts is not None, f"{name} does not exist"
        facts = replace(facts, host=replace(facts.host, time=time.time()))
        if call.verb == "server":
            facts = self._applied(facts, decode(Request, call.document))
            self.machines[name] = facts
        if call.verb == "kubeconfig":
            return Result("done", data={"kubeconfig": yaml.safe_dump(_KUBECONFIG)})
        return Result("done", facts=facts)

    def _applied(self, facts: Facts, request: Request) -> Facts:
        assessed = assess(request, facts)
        assert not assessed.vetoes, assessed.vetoes
        for change in assessed.changes:
            facts = after(request, facts, change)
        return replace(facts, k3s=replace(facts.k3s, ca_hash=self.ca_hash))


def write_cluster_file(folder: Path, file: str, name: str) -> Path:
    """A cluster file of one local machine, and the release that it names."""
    release = folder / "release" / VERSION
    release.mkdir(parents=True, exist_ok=True)
    (release / "k3s").write_bytes(BINARY)
    (release / "sha256sum-amd64.txt").write_text(f"{hashlib.sha256(BINARY).hexdigest()}  k3s\n")
    spec = {
        "provider": {"kind": "local"},
        "k3s": {"version": VERSION, "artifacts": {"source": str(folder / "release")}},
        "nodes": [{"name": "server-1", "role": "server"}],
    }
    head = {"apiVersion": "productive-k3s/v1alpha1", "kind": "Cluster", "metadata": {"name": name}}
    (folder / file).write_text(yaml.safe_dump({**head, "spec": spec}))
    return folder / file


def session_of(file: Path, world: World, person: Interaction) -> Session:
    """What the command line opens, with the world in place of real machines."""
    spec = load_cluster_file(file, {})
    for node in spec.nodes:
        world.machines.setdefault(node.name, None)
    return Session(spec, Workspace(file, spec.name), world, person)


def answer_for(monkeypatch: pytest.MonkeyPatch, worlds: Iterable[World], *operations: ModuleType) -> None:
    """Let these operations speak to the hosts of the worlds; the look from this computer at an API is left out."""
    by_name = {world.cluster: world for world in worlds}

    @asynccontextmanager
    async def fleet_of(session: Session, _inventory: Inventory) -> AsyncIterator[Fleet]:
        yield by_name[session.spec.name].fleet()

    async def valid(session: Session, *_arguments: Any, **_named: Any) -> Report:
        return Report(session.spec.name, "full", ())

    for operation in (sessions, *operations):
        replaced = [name for name in ("fleet_of", "validate_with") if hasattr(operation, name)]
        # A name that moved elsewhere would let a test speak to real hosts.
        assert replaced, f"{operation.__name__} opens no fleet and validates nothing"
        for name in replaced:
            monkeypatch.setattr(operation, name, fleet_of if name == "fleet_of" else valid)
