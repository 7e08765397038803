"""A validation over all hosts: who is asked what, and how the answers become one report."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.codec import decode
from productive_k3s.contract.events import CheckResult, Result
from productive_k3s.contract.expectation import Expectation, ExpectedNode
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import run_to_end
from productive_k3s.verbs import validate
from productive_k3s_infra.cluster_file.model import ClusterSpec, K3s, LocalProvider, OnpremProvider
from productive_k3s_infra.errors import HostProgramFailed, HostUnreachable
from productive_k3s_infra.validate import gather as gathering
from productive_k3s_infra.validate.api import ApiState
from productive_k3s_infra.validate.gather import answering_server, validate_cluster
from productive_k3s_infra.validate.quick import checks_of, expectation, report_of
from productive_k3s_infra.validate.report import Report
from static.contract_program.simulated import Machine
from static.fleet_doubles import Call, FakeFleet, inventory

NAMES = ("server-1", "agent-1", "agent-2")
WANTED = Expectation("v1.34.4+k3s1", (ExpectedNode("server-1", "server", "10.0.0.11"),))


def check(name: str, subject: str, *, passed: bool = True) -> CheckResult:
    return CheckResult(name, subject, passed, "error", "found", remedy="" if passed else "mend it")


def looked(call: Call) -> Result:
    """A host that is well; a server with the cluster's scope says something of every node."""
    mine = check("k3s.service", call.host)
    if "cluster" not in call.arguments:
        return Result("done", checks=(mine,))
    return Result("done", checks=(mine, *(check("node.ready", name) for name in NAMES)))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The API as it is seen; the list has what it was looked for with."""
    asked: list[Any] = []

    def look(kubeconfig: Any, now: float) -> ApiState:
        asked.append(kubeconfig)
        return ApiState("10.0.0.11:6443", "", ("10.0.0.11", "k3s.example"), 300.0)

    monkeypatch.setattr(gathering, "look_at_api", look)
    return asked


async def validated(fleet: FakeFleet, *, full: bool = False, **options: Any) -> Report:
    options = {"kubeconfig_document": {"kind": "Config"}, "server": "server-1", **options}
    return (await validate_cluster(inventory(), fleet, WANTED, full=full, **options))[0]


def failed(report: Report) -> list[tuple[str, str]]:
    return [(item.id, item.subject) for item in report.failed]


def test_every_node_is_expected_by_identity() -> None:
    spec = ClusterSpec(name="edge", provider=LocalProvider(kind="local"), k3s=K3s(version="v1.34.4+k3s1"), nodes=())
    found = expectation(spec, inventory())
    assert found.version == "v1.34.4+k3s1"
    assert found.nodes == (
        ExpectedNode("server-1", "server", "10.0.0.11"),
        ExpectedNode("agent-1", "agent", "10.0.0.21"),
        ExpectedNode("agent-2", "agent", "10.0.0.22"),
    )


def test_a_node_whose_address_is_a_name_may_have_any() -> None:
    spec = ClusterSpec(name="edge", provider=OnpremProvider(kind="onprem"), k3s=K3s(version="v1.34.4+k3s1"), nodes=())
    there = inventory(replace(inventory().hosts[0], address="server-1.example"))
    assert expectation(spec, there).nodes == (ExpectedNode("server-1", "server", ""),)


async def test_each_host_is_asked_once_and_the_report_has_it_all(api: list[Any]) -> None:
    fleet = FakeFleet(dict.fromkeys(NAMES, looked))
    report = await validated(fleet, api_names=("k3s.example",))
    assert report.passed
    assert (report.cluster, report.scope) == ("edge", "quick")
    assert [(item.id, item.subject) for item in report.checks] == [
        *(
            ("k3s.service", "server-1"),
            ("node.ready", "server-1"),
            ("node.ready", "agent-1"),
            ("node.ready", "agent-2"),
        ),
        *(("k3s.service", "agent-1"), ("k3s.service", "agent-2")),
        *((f"api.{name}", "10.0.0.11:6443") for name in ("reachable", "certificate-names", "certificate-days")),
    ]
    assert [(call.host, call.arguments) for call in fleet.calls] == [
        ("server-1", ("--scope", "cluster")),
        ("agent-1", ("--scope", "host")),
        ("agent-2", ("--scope", "host")),
    ]
    assert api == [{"kind": "Config"}]


async def test_a_server_that_is_named_is_asked_about_the_cluster(api: list[Any]) -> None:
    hosts = (*inventory().hosts, replace(inventory().hosts[0], name="server-2", address="10.0.0.12"))
    fleet = FakeFleet(
        dict.fromkeys((*NAMES, "server-2"), looked), {"server-1": HostUnreachable("no", where="server-1")}
    )
    there = replace(inventory(), hosts=hosts)
    report, _ = await validate_cluster(
        there, fleet, WANTED, server="server-2", full=False, kubeconfig_document={"kind": "Config"}
    )
    assert {call.host: call.arguments[1] for call in fleet.calls} == {
        "agent-1": "host",
        "agent-2": "host",
        "server-2": "cluster",
    }
    assert failed(report) == [("host.reachable", "server-1")]


async def test_the_first_server_that_can_be_reached_is_asked() -> None:
    lost = HostUnreachable("no", where="server-1")
    hosts = (*inventory().hosts, replace(inventory().hosts[0], name="server-2", address="10.0.0.12"))
    there = replace(inventory(), hosts=hosts)
    assert await answering_server(there, FakeFleet({})) == "server-1"
    assert await answering_server(there, FakeFleet({}, {"server-1": lost})) == "server-2"
    assert await answering_server(there, FakeFleet({}, {"server-1": lost, "server-2": lost})) == "server-1"
    alone = FakeFleet({}, {"server-1": AssertionError("it is not tried")})  # type: ignore[dict-item]
    assert await answering_server(inventory(), alone) == "server-1"


async def test_the_host_program_understands_what_it_is_asked(api: list[Any]) -> None:
    fleet = FakeFleet(dict.fromkeys(NAMES, looked))
    report = await validated(fleet, full=True)
    assert report.scope == "full"
    for call in fleet.calls:
        flags = parser().parse_args([call.verb, *call.arguments, "--json", "--request", "-"])
        assert flags.full is (call.host == "server-1")
        assert decode(Expectation, call.document) == WANTED
    server, agent = (call.deadline_seconds for call in fleet.calls[:2])
    assert agent < WANTED.deadline + WANTED.trial_deadline < server


async def test_hosts_and_the_api_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    everybody = asyncio.Barrier(4)

    def look(kubeconfig: Any, now: float) -> ApiState:
        asyncio.run_coroutine_threadsafe(_wait(everybody), loop).result(20)
        return ApiState("10.0.0.11:6443", error="refused", cause="network")

    async def answer(call: Call) -> Result:
        await everybody.wait()
        return looked(call)

    monkeypatch.setattr(gathering, "look_at_api", look)
    async with asyncio.timeout(20):
        report = await validated(FakeFleet(dict.fromkeys(NAMES, answer)))
    assert failed(report) == [("api.reachable", "10.0.0.11:6443")]


async def _wait(barrier: asyncio.Barrier) -> None:
    await barrier.wait()


async def test_a_host_that_cannot_be_asked_is_a_failed_check(api: list[Any]) -> None:
    gone = HostUnreachable("no connection", where="agent-1", evidence="timed out", remedy="is it up?")
    cut = HostProgramFailed("the connection was cut", where="agent-2")
    report = await validated(FakeFleet({"server-1": looked, "agent-2": cut}, {"agent-1": gone}))
    assert failed(report) == [("host.reachable", "agent-1"), ("host.reachable", "agent-2")]
    first, second = report.failed
    assert (first.evidence, first.remedy) == ("ssh.unreachable: timed out", "is it up?")
    assert second.evidence == "host.no-result"


async def test_without_a_server_or_kubeconfig_the_report_still_comes(api: list[Any]) -> None:
    gone = HostUnreachable("no connection", where="server-1")
    fleet = FakeFleet(dict.fromkeys(NAMES[1:], looked), {"server-1": gone})
    report = await validated(fleet, kubeconfig_document=None)
    assert failed(report) == [("host.reachable", "server-1"), ("api.reachable", "10.0.0.11")]
    assert not api


async def test_a_name_that_the_certificate_lacks_is_found(api: list[Any]) -> None:
    report = await validated(FakeFleet(dict.fromkeys(NAMES, looked)), api_names=("other.example",))
    assert failed(report) == [("api.certificate-names", "10.0.0.11:6443")]


async def test_what_a_host_says_meanwhile_is_passed_on(api: list[Any]) -> None:
    heard: list[tuple[str, str]] = []

    def answer(call: Call) -> Result:
        call.say("waiting for agent-1")
        return looked(call)

    fleet = FakeFleet({**dict.fromkeys(NAMES, looked), "server-1": answer})
    await validated(fleet, on_event=lambda host, message: heard.append((host, message)))
    assert heard == [("server-1", "waiting for agent-1")]


def test_a_failure_beside_checks_and_one_alone_are_checks() -> None:
    failure = Failure("k3s.no-server", "no server", "it is an agent", "run it on a server")
    found = checks_of("server-1", Result("failed", (failure,), checks=(check("k3s.service", "server-1"),)))
    assert [(item.id, item.passed) for item in found] == [("k3s.service", True), ("k3s.no-server", False)]
    assert (found[1].evidence, found[1].remedy, found[1].severity) == (
        "it is an agent",
        "run it on a server",
        "error",
    )


def test_a_result_that_says_nothing_has_failed() -> None:
    (found,) = checks_of("agent-1", Result("interrupted"))
    assert (found.id, found.subject, found.passed) == ("host.validated", "agent-1", False)
    assert "interrupted" in found.message
    assert found.remedy


def test_a_server_that_is_none_is_told_in_this_program_s_words() -> None:
    """The host program has a flag for it, which `pk3s validate` has not."""
    with pytest.raises(ContractError) as caught:
        run_to_end(validate.run(Machine().host(), "cluster", False, None))
    said = Result("failed", failures=(caught.value.failure,))
    (found,) = report_of("edge", {"server-1": said}, ()).checks
    assert (found.id, found.subject, found.passed, found.evidence) == (
        "request.scope", "server-1", False, "this host is no node",
    )  # fmt: skip
    assert "pk3s plan" in found.remedy
    assert "scope" not in found.remedy


def test_two_looks_at_one_subject_are_one_row_and_the_failure_wins() -> None:
    answers = {
        "server-1": Result("done", checks=(check("node.ready", "agent-1"), check("node.ready", "agent-2"))),
        "server-2": Result("failed", checks=(check("node.ready", "agent-1", passed=False),)),
        "server-3": Result("done", checks=(check("node.ready", "agent-1"),)),
    }
    report = report_of("edge", answers, ())
    assert [(item.subject, item.passed) for item in report.checks] == [("agent-1", False), ("agent-2", True)]
