"""`pk3s destroy`: it touches no host but the recorded cluster's, and never calls clean what it did not see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.cli.show import destroyed_lines
from productive_k3s_infra.errors import HostUnreachable, NotAgreed, ProviderFailed, Refused
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.destroy import destroy
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.providers.protocol import Survey, SurveyedMachine
from productive_k3s_infra.workspace.record import write_record
from static.contract_program.hosts import CA, OTHER_CA, VERSION, on_k3s
from static.fleet_doubles import Call
from static.operations.bed import World, enter
from static.plan.clusters import spec

GONE = HostUnreachable("no connection", where="agent-1", remedy="is it up?")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A cluster that an earlier apply made on hosts that are nobody's machines."""
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    await apply(made.session, probe=False)
    made.fleet.calls.clear()
    return made


def touched(world: World) -> list[str]:
    return [host for host, _ in world.verbs()]


async def test_agents_go_before_the_server_and_each_says_whose_cluster_it_is(world: World) -> None:
    destroyed = await destroy(world.session)
    assert (destroyed.gone, destroyed.exit_code) == (("agent-1", "agent-2", "server-1"), 0)
    calls = [call for call in world.fleet.calls if call.verb == "uninstall"]
    assert [(call.host, call.arguments) for call in calls] == [
        ("agent-1", ("--cluster", CA, "--yes")),
        ("agent-2", ("--cluster", CA, "--yes")),
        ("server-1", ("--cluster", CA, "--yes", "--force")),
    ]
    assert not world.session.workspace.lock_file.exists()
    assert not world.session.workspace.kubeconfig.exists()
    assert any("datastore" in text for text in world.person.dies[0] if "server-1" in text)


async def test_a_host_of_another_cluster_stops_all_before_anything_goes(world: World) -> None:
    """One wrong address is enough: that host's cluster lives."""
    world.facts["agent-2"] = on_k3s(world.facts["agent-2"], ca_hash=OTHER_CA)
    with pytest.raises(Refused) as caught:
        await destroy(world.session)
    assert (caught.value.code, caught.value.where) == ("destroy.other-cluster", "agent-2")
    assert OTHER_CA[:12] in caught.value.evidence
    assert touched(world) == []
    assert world.person.dies == []
    assert world.session.workspace.lock_file.exists()


async def test_without_a_record_nobody_knows_whose_k3s_it_is(world: World) -> None:
    world.session.workspace.lock_file.unlink()
    with pytest.raises(Refused) as caught:
        await destroy(world.session)
    assert caught.value.code == "destroy.no-record"
    assert touched(world) == []


async def test_a_record_of_another_cluster_destroys_nothing(world: World) -> None:
    write_record(world.session.workspace.folder, "edge", ClusterRecord(OTHER_CA, VERSION))
    with pytest.raises(Refused) as caught:
        await destroy(world.session)
    assert caught.value.code == "destroy.other-cluster"
    assert touched(world) == []


async def test_a_datastore_whose_ca_is_lost_is_for_a_person_to_judge(world: World) -> None:
    world.facts["server-1"] = on_k3s(world.facts["server-1"], ca_hash="")
    with pytest.raises(Refused) as caught:
        await destroy(world.session)
    assert caught.value.code == "destroy.ca-lost"
    assert "productive-k3s uninstall --cluster unknown --plan lists" in caught.value.remedy
    assert "--cluster unknown" in caught.value.remedy
    assert touched(world) == []


async def test_a_host_with_nothing_to_lose_needs_no_proof(world: World) -> None:
    world.facts["agent-1"] = world.before.facts["agent-1"]
    world.session.workspace.lock_file.unlink()
    for name in ("server-1", "agent-2"):
        world.facts[name] = world.before.facts[name]
    world.instead["uninstall"] = lambda _: Result("unchanged")
    destroyed = await destroy(world.session)
    assert next(call.arguments for call in world.fleet.calls if call.verb == "uninstall") == ("--yes",)
    assert (destroyed.gone, destroyed.clean) == ((), ("agent-1", "agent-2", "server-1"))
    assert "K3s was not installed on: agent-1, agent-2, server-1." in list(destroyed_lines(destroyed))


async def test_a_dead_agent_does_not_hold_up_the_rest_and_is_named_with_the_way_to_clean_it(world: World) -> None:
    world.refuse(agent_1=GONE)
    destroyed = await destroy(world.session)
    assert destroyed.gone == ("agent-2", "server-1")
    assert destroyed.exit_code == 5
    (left,) = destroyed.left
    assert (left.host, left.failure.code) == ("agent-1", "ssh.unreachable")
    assert f"productive-k3s uninstall --cluster {CA[:8]}" in left.failure.remedy
    text = "\n".join(destroyed_lines(destroyed))
    assert "Nothing to destroy" not in text
    assert text.endswith("Left: K3s, if it was there, on agent-1 (see above).")
    assert world.session.workspace.lock_file.exists(), "agent-1 is cleaned with it later"
    world.refuse()
    again = await destroy(world.session)
    assert again.exit_code == 0
    assert not world.session.workspace.lock_file.exists()


async def test_hosts_that_were_all_out_of_reach_are_not_called_clean(world: World) -> None:
    world.refuse(server_1=GONE, agent_1=GONE, agent_2=GONE)
    destroyed = await destroy(world.session)
    assert (destroyed.gone, destroyed.clean, destroyed.exit_code) == ((), (), 5)
    assert [left.host for left in destroyed.left] == ["server-1", "agent-1", "agent-2"]
    assert world.person.dies == [], "where nothing can be done nobody is asked"
    assert world.session.workspace.lock_file.exists()


async def test_an_agent_that_cannot_be_uninstalled_keeps_the_server(world: World) -> None:
    """With its server gone nobody could take it out of the cluster any more."""

    def failing(call: Call) -> Result:
        failed = Result("failed", failures=(Failure("host.busy", "held"),))
        return failed if call.host == "agent-1" else Result("done")

    world.instead["uninstall"] = failing
    destroyed = await destroy(world.session)
    assert touched(world) == ["agent-1", "agent-2"]
    assert [(left.host, left.failure.code) for left in destroyed.left] == [
        ("agent-1", "host.busy"),
        ("server-1", "destroy.skipped"),
    ]
    assert destroyed.exit_code == 5
    assert world.session.workspace.lock_file.exists()


async def test_nothing_is_destroyed_that_nobody_agreed_to(world: World) -> None:
    world.person.agrees = False
    with pytest.raises(NotAgreed):
        await destroy(world.session)
    assert touched(world) == []


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    seen = Survey(
        True,
        (SurveyedMachine("server-1", "running"), SurveyedMachine("agent-1", "missing"), SurveyedMachine("x", "extra")),
        shared=("the network",),
    )
    made = World(tmp_path, spec(), machines=seen)
    enter(made, monkeypatch)
    return made


async def test_machines_go_with_what_they_share_without_asking_their_hosts(machines: World) -> None:
    destroyed = await destroy(machines.session)
    assert machines.provider.calls == [("survey", ()), ("destroy_all", ())]
    assert machines.fleet.calls == []
    assert destroyed.gone == ("server-1", "x", "the network")
    assert [result.step.id for result in destroyed.results] == [
        "server-1/destroy-machine",
        "x/destroy-machine",
        "edge/destroy-shared",
    ]
    assert machines.person.dies == [
        (
            "machine server-1, with its disk and the volumes on it",
            "machine x, with its disk and the volumes on it",
            "the network",
        )
    ]


async def test_what_a_provider_could_not_destroy_is_left(machines: World) -> None:
    machines.provider.fails = ProviderFailed("held", code="local.leftovers")
    destroyed = await destroy(machines.session)
    assert destroyed.exit_code == 5
    assert {left.failure.code for left in destroyed.left} == {"local.leftovers"}
    assert destroyed.gone == ()


async def test_nothing_that_is_there_is_nothing_to_ask(machines: World) -> None:
    machines.provider.seen = replace(machines.provider.seen, machines=(), shared=())
    destroyed = await destroy(machines.session)
    assert machines.person.dies == []
    assert list(destroyed_lines(destroyed)) == ["Nothing to destroy."]
