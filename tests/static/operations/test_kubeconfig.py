"""The kubeconfig in the cluster directory: fetched, and fetched again when it is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.errors import BadInput, HostProgramFailed, HostUnreachable, StepFailed
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from productive_k3s_infra.inventory.survey import Survey
from productive_k3s_infra.operations import kubeconfig as fetching
from productive_k3s_infra.operations import validate as validating
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.directory import open_workspace
from productive_k3s_infra.workspace.kubeconfig import read_kubeconfig
from static.fleet_doubles import FakeFleet
from static.operations.world import Person, World, answer_for, session_of, write_cluster_file


class Listening(Person):
    """Remembers notes."""

    def note(self, message: str) -> None:
        self.asked.append(message)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    world = World("edge", "10.213.0")
    file = write_cluster_file(tmp_path, "cluster.yaml", "edge")
    found = session_of(file, world, Listening())
    world.machines["server-1"] = world.empty("server-1")
    answer_for(monkeypatch, [world], fetching)
    open_workspace(file, "edge")
    return found


@pytest.fixture
def documents(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """With which kubeconfig the API is looked at; no API is."""
    given: list[Any] = []

    async def validate_cluster(
        *_arguments: Any, kubeconfig_document: Any, **_named: Any
    ) -> tuple[Report, dict[str, Facts]]:
        given.append(kubeconfig_document)
        return Report("edge", "quick", ()), {}

    monkeypatch.setattr(validating, "validate_cluster", validate_cluster)
    monkeypatch.setattr(validating, "fleet_of", fetching.fleet_of)
    return given


DAMAGED = [
    b"",
    b"\xff\xfe\x00",
    b"apiVersion: v1\nkind: Config\nclusters: [\n",
    b"apiVersion: v1\nkind: Conf",
    b"kind: Config\nclusters: []\nusers: []\ncontexts: []\ncurrent-context: edge\n",
    b"kind: Config\nclusters: []\nusers: []\ncontexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n",
    (
        b"kind: Config\nclusters: [{name: b, cluster: {}}]\nusers: [{name: u, user: {}}]\n"
        b"contexts: [{name: a, context: {cluster: a, user: u}}]\ncurrent-context: a\n"
    ),
    (
        b"kind: Config\nclusters: [{name: b, cluster: {}}]\nusers: [{name: u, user: {}}]\n"
        b"contexts: [{name: a, context: {cluster: b, user: v}}]\ncurrent-context: a\n"
    ),
]


@pytest.mark.parametrize("content", DAMAGED)
async def test_a_damaged_one_is_said_and_fetched_again(session: Session, documents: list[Any], content: bytes) -> None:
    path = session.workspace.kubeconfig
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_kubeconfig(session.workspace)
    assert (caught.value.code, caught.value.where) == ("kubeconfig.damaged", str(path))
    assert "pk3s kubeconfig" in caught.value.remedy
    assert (await validating.validate(session, full=False)).passed
    assert documents == [yaml.safe_load(path.read_text())]
    assert documents[0]["current-context"] == "edge"
    (note,) = session.interaction.asked  # type: ignore[attr-defined]
    assert str(path) in note
    assert "damaged" in note
    assert "fetched again" in note


async def test_one_that_is_well_is_taken_as_it_is(session: Session, documents: list[Any]) -> None:
    path = await fetching.get_kubeconfig(session)
    path.write_text(path.read_text().replace("users:", "extra: mine\nusers:"))
    await validating.validate(session, full=False)
    assert documents[0]["extra"] == "mine"


async def test_where_no_machine_runs_there_is_none(session: Session, tmp_path: Path) -> None:
    world = World("edge", "10.213.0")
    with pytest.raises(StepFailed) as caught:
        await fetching.get_kubeconfig(session_of(tmp_path / "cluster.yaml", world, Listening()))
    assert (caught.value.code, caught.value.where, caught.value.remedy) == ("cluster.missing", "server-1", "pk3s apply")
    assert not session.workspace.kubeconfig.exists()


async def test_it_names_the_address_that_people_reach(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes reach each other at addresses that nobody else does."""

    def server_of(text: str) -> str:
        return str(yaml.safe_load(text)["clusters"][0]["cluster"]["server"])

    assert server_of((await fetching.get_kubeconfig(session)).read_text()) == "https://10.213.0.11:6443"
    survey = await session.provider.survey()
    (machine,) = survey.machines
    assert machine.location is not None
    public = replace(machine, location=replace(machine.location, public_address="203.0.113.7"))

    async def survey_public(_: object) -> Survey:
        return replace(survey, machines=(public,))

    monkeypatch.setattr(type(session.provider), "survey", survey_public)
    assert server_of((await fetching.get_kubeconfig(session)).read_text()) == "https://203.0.113.7:6443"


async def test_what_cannot_be_read_is_a_note(session: Session, documents: list[Any]) -> None:
    session.workspace.kubeconfig.mkdir()
    await validating.validate(session, full=False)
    assert documents == [None]
    assert "no kubeconfig: " in session.interaction.asked[-1]  # type: ignore[attr-defined]


async def test_the_first_server_that_gives_one_is_asked(session: Session) -> None:
    lost = HostUnreachable("no", where="server-1")
    first = Host("server-1", "server", "10.213.0.11", Endpoint("10.213.0.11"))
    there = Inventory("edge", (first, replace(first, name="server-2", address="10.213.0.12")))
    document = (
        "kind: Config\nclusters: [{name: b, cluster: {server: https://127.0.0.1:6443}}]\nusers: [{name: u, user: {}}]\n"
        "contexts: [{name: a, context: {cluster: b, user: u}}]\ncurrent-context: a\n"
    )
    given = Result("done", data={"kubeconfig": document})
    empty = Result("failed", failures=(Failure("k3s.no-kubeconfig", "not there"),))
    for fleet in (
        FakeFleet({"server-2": given}, {"server-1": lost}),
        FakeFleet({"server-1": empty, "server-2": given}),
    ):
        assert "https://10.213.0.12:6443" in await fetching.fetch_kubeconfig(session, there, fleet)
    with pytest.raises(HostProgramFailed, match="not there"):
        await fetching.fetch_kubeconfig(session, there, FakeFleet({"server-1": empty}, {"server-2": lost}))
