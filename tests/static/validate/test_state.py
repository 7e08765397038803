"""For what a cluster is made of a full validation has passed once, or an apply that changes nothing tries it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.expectation import Expectation
from productive_k3s.contract.facts import Digests, Facts
from productive_k3s.plan.state import state_of
from productive_k3s_infra.cluster_file.model import Artifacts, ClusterSpec, K3s, LocalProvider, OnpremProvider
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.operations.validate import facts_after, validate_with
from productive_k3s_infra.validate import gather as gathering
from productive_k3s_infra.validate.api import ApiState
from productive_k3s_infra.validate.quick import expectation
from productive_k3s_infra.validate.report import Report
from static.contract_program.hosts import VERSION, fresh, on_k3s
from static.fleet_doubles import Call, FakeFleet, inventory
from static.operations.bed import Person

NAMES = ("server-1", "agent-1", "agent-2")
DIGESTS = Digests("binary", "config", "environment", "unit", "registries", "tokens", "files")
FACTS: dict[str, Facts] = {name: on_k3s(fresh(), on_disk=DIGESTS) for name in NAMES}
OTHER = on_k3s(fresh(), on_disk=replace(DIGESTS, config="another"))
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: edge, cluster: {server: "https://10.0.0.11:6443", certificate-authority-data: QQ==}}]
users: [{name: edge, user: {client-certificate-data: QQ==, client-key-data: QQ==}}]
contexts: [{name: edge, context: {cluster: edge, user: edge}}]
current-context: edge
"""


class Server:
    """The first server of a cluster that notes what it is told, and obeys `unless_passed` as the host program does."""

    def __init__(self) -> None:
        self.noted = ""
        self.works = True
        self.fleet = FakeFleet({**dict.fromkeys(NAMES, self.answer)})

    def answer(self, call: Call) -> Result:
        if "--note" in call.arguments:
            self.noted = call.arguments[call.arguments.index("--note") + 1]
            return Result("done")
        if "cluster" not in call.arguments:
            return Result("done", checks=(CheckResult("service.active", call.host, True, "error", "active"),))
        wanted = decode(Expectation, call.document)
        knows = wanted.unless_passed and wanted.state and wanted.state == self.noted
        full = "--full" in call.arguments and not knows
        pods = CheckResult("pod.reaches", "agent-1", self.works, "error", "said") if full else None
        checks = (CheckResult("node.ready", "agent-1", True, "error", "Ready"), *((pods,) if pods else ()))
        outcome = "done" if all(check.passed for check in checks) else "failed"
        return Result(outcome, checks=checks, data={"scope": "full" if full else "quick"})

    async def apply(self, session: Any, *, changed: bool, facts: dict[str, Facts] | None = FACTS) -> Report:
        return await validate_with(session, inventory(), self.fleet, full=changed, facts=facts)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(gathering, "look_at_api", lambda *_: ApiState("x", "", ("10.0.0.11",), 300.0))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    folder = tmp_path / VERSION
    folder.mkdir()
    (folder / "k3s-images.txt").write_text("docker.io/rancher/mirrored-library-busybox:1.99.0\n")
    k3s = K3s(version=VERSION, artifacts=Artifacts(source=str(tmp_path)))
    spec = ClusterSpec(name="edge", provider=LocalProvider(kind="local"), k3s=k3s, nodes=())
    workspace = SimpleNamespace(kubeconfig=kubeconfig)
    return SimpleNamespace(spec=spec, workspace=workspace, interaction=Person())


async def test_after_a_failed_validation_the_next_apply_tries_all_again(session: Any) -> None:
    server = Server()
    server.works = False
    first = await server.apply(session, changed=True)
    again = await server.apply(session, changed=False)
    assert [(report.scope, report.passed) for report in (first, again)] == [("full", False), ("full", False)]
    server.works = True
    mended = await server.apply(session, changed=False)
    quick = await server.apply(session, changed=False)
    assert [(report.scope, report.passed) for report in (mended, quick)] == [("full", True), ("quick", True)]


async def test_one_that_was_never_reached_is_made_up_for(session: Any) -> None:
    server = Server()
    await server.apply(session, changed=True)
    # Steps ran, and the run was killed before it validated.
    changed = {**FACTS, "agent-2": OTHER}
    assert (await server.apply(session, changed=False, facts=changed)).scope == "full"
    assert (await server.apply(session, changed=False, facts=changed)).scope == "quick"
    assert (await server.apply(session, changed=False)).scope == "full"


async def test_a_change_is_always_tried_in_full(session: Any) -> None:
    server = Server()
    assert [(await server.apply(session, changed=True)).scope for _ in range(2)] == ["full", "full"]


async def test_a_later_failure_takes_the_note_back(session: Any) -> None:
    server = Server()
    await server.apply(session, changed=True)
    server.works = False
    await server.apply(session, changed=True)
    assert (await server.apply(session, changed=False)).scope == "full"


class Telling(Server):
    """One whose hosts say in their answers what they are, as hosts do."""

    def __init__(self, facts: dict[str, Facts] = FACTS) -> None:
        super().__init__()
        self.facts = facts

    def answer(self, call: Call) -> Result:
        said = super().answer(call)
        return said if "--note" in call.arguments else replace(said, facts=self.facts[call.host])

    async def validate(self, session: Any, *, full: bool = True) -> Report:
        """As `pk3s validate` does, which has not looked at the hosts before."""
        return await validate_with(session, inventory(), self.fleet, full=full)


async def test_a_validation_that_was_asked_for_counts_for_the_next_apply(session: Any) -> None:
    server = Telling()
    server.works = False
    await server.apply(session, changed=True)
    server.works = True
    assert (await server.validate(session)).passed
    assert (await server.apply(session, changed=False)).scope == "quick"
    server.works = False
    assert not (await server.validate(session)).passed
    assert (await server.apply(session, changed=False)).scope == "full"


async def test_a_quick_one_that_was_asked_for_is_quick_and_notes_nothing(session: Any) -> None:
    server = Telling()
    assert (await server.validate(session, full=False)).scope == "quick"
    assert not any("--note" in call.arguments for call in server.fleet.calls)


async def test_one_that_passed_for_other_hosts_does_not_count(session: Any) -> None:
    server = Telling({**FACTS, "agent-2": OTHER})
    await server.validate(session)
    assert (await server.apply(session, changed=False)).scope == "full"


async def test_without_all_facts_nothing_is_noted(session: Any) -> None:
    server = Server()
    some = {name: FACTS[name] for name in NAMES[:2]}
    assert (await server.apply(session, changed=True, facts=some)).scope == "full"
    assert (await server.apply(session, changed=False, facts=some)).scope == "quick"
    assert server.noted == ""


async def test_what_cannot_be_noted_is_no_error(session: Any) -> None:
    class Silent(Server):
        def answer(self, call: Call) -> Result:
            if "--note" in call.arguments:
                raise HostUnreachable("the connection was lost", where=call.host)
            return super().answer(call)

    assert (await Silent().apply(session, changed=True)).passed


async def test_the_releases_images_are_handed_over(session: Any) -> None:
    server = Server()
    await server.apply(session, changed=True)
    document = next(call.document for call in server.fleet.calls if "--full" in call.arguments)
    wanted = decode(Expectation, document)
    assert wanted.images == ("docker.io/rancher/mirrored-library-busybox:1.99.0",)
    assert not wanted.may_pull


@pytest.mark.parametrize(
    ("artifacts", "registries", "may_pull"),
    [
        (Artifacts(), None, True),
        (Artifacts(source="https://mirror.example"), None, True),
        (Artifacts(source="https://mirror.example", delivery="push"), None, False),
        (Artifacts(source="/releases"), None, False),
        (Artifacts(source="/releases"), {"mirrors": {}}, True),
    ],
)
def test_who_can_pull(artifacts: Artifacts, registries: Any, may_pull: bool) -> None:
    k3s = K3s(version=VERSION, artifacts=artifacts, registries=registries)
    spec = ClusterSpec(name="edge", provider=OnpremProvider(kind="onprem"), k3s=k3s, nodes=())
    assert expectation(spec, inventory()).may_pull is may_pull


def test_machines_without_a_way_out_pull_nothing() -> None:
    spec = ClusterSpec(name="edge", provider=LocalProvider(kind="local"), k3s=K3s(version=VERSION), nodes=())
    assert expectation(spec, inventory()).may_pull is False


def test_a_state_is_what_hosts_are_made_of() -> None:
    spec = ClusterSpec(name="edge", provider=LocalProvider(kind="local"), k3s=K3s(version=VERSION), nodes=())
    wanted = expectation(spec, inventory())
    assert state_of(wanted, FACTS) == state_of(wanted, dict(reversed(FACTS.items())))
    assert state_of(wanted, {**FACTS, "agent-1": OTHER}) != state_of(wanted, FACTS)
    assert state_of(replace(wanted, version="v1.99.0+k3s1"), FACTS) != state_of(wanted, FACTS)
    assert state_of(wanted, {**FACTS, "agent-1": fresh()}) == ""


def test_facts_after_steps_are_those_that_the_hosts_gave() -> None:
    step = SimpleNamespace(host="agent-1")
    results = (SimpleNamespace(step=step, result=Result("done", facts=OTHER)), SimpleNamespace(step=step, result=None))
    assert facts_after(FACTS, results) == {**FACTS, "agent-1": OTHER}  # type: ignore[arg-type]
