"""`pk3s inventory`: it looks as `plan` does, writes where it shall, and refuses where applying would be refused."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from productive_k3s.contract.events import Result
from productive_k3s_infra.answers.made import inventory_answer
from productive_k3s_infra.cli import show
from productive_k3s_infra.errors import HostUnreachable, Refused
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Host, Inventory
from productive_k3s_infra.inventory.survey import Assumption, Survey, SurveyedMachine
from productive_k3s_infra.operations import inventory as operation
from productive_k3s_infra.operations.inventory import unrecorded, write_inventory
from productive_k3s_infra.operations.session import Session, open_session
from productive_k3s_infra.plan.assumed import assumed_facts
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.plan.stages import plan_stages
from static.contract_program.hosts import VERSION
from static.fleet_doubles import Call, FakeFleet, host
from static.plan.clusters import executed, situation, spec

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1sKp2b1Xo6WmQ0c9v5m7yq3tq4n2v0w8x6y4z2A1b3"
BINARY = b"a binary"
IMAGE = "docker.io/rancher/mirrored-library-busybox:1.99.0"


class Nobody:
    """Nobody is asked, and nobody is told."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_named: None


@pytest.fixture
def session(tmp_path: Path) -> Session:
    release = tmp_path / "release" / VERSION
    release.mkdir(parents=True)
    (release / "k3s").write_bytes(BINARY)
    (release / "k3s-images.txt").write_text(f"{IMAGE}\n")
    (release / "sha256sum-amd64.txt").write_text(f"{hashlib.sha256(BINARY).hexdigest()}  k3s\n")
    spec = {
        "provider": {"kind": "onprem"},
        "k3s": {"version": VERSION, "artifacts": {"source": str(tmp_path / "release")}},
        "nodes": [
            {"name": "server-1", "role": "server", "address": "10.0.0.11", "hostKey": KEY},
            {"name": "agent-1", "role": "agent", "address": "10.0.0.21", "hostKey": KEY},
        ],
    }
    head = {"apiVersion": "productive-k3s/v1alpha1", "kind": "Cluster", "metadata": {"name": "edge"}}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({**head, "spec": spec}))
    return open_session(tmp_path / "cluster.yaml", {}, cast("Any", Nobody()))


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> FakeFleet:
    hosts = (host("server-1", "server", "10.0.0.11"), host("agent-1", "agent", "10.0.0.21"))
    found = FakeFleet({one.name: partial(answer, one) for one in hosts})

    @asynccontextmanager
    async def given(_session: Session, _inventory: Inventory) -> AsyncIterator[Fleet]:
        yield found

    monkeypatch.setattr(operation, "fleet_of", given)
    return found


def answer(one: Host, _call: Call) -> Result:
    """An empty host on which K3s can run, and whose clock is right."""
    facts = assumed_facts(one, Assumption())
    identity = hashlib.md5(one.name.encode(), usedforsecurity=False).hexdigest()
    return Result("done", facts=replace(facts, host=replace(facts.host, time=time.time(), machine_id=identity)))


async def test_it_looks_once_at_each_host_and_writes_what_is_pushed(session: Session, fleet: FakeFleet) -> None:
    written = await write_inventory(session)
    assert [check for check in written.preflight.failed if check.severity == "error"] == []
    assert written.folder == session.workspace.path / "ansible"
    assert [(call.host, call.verb) for call in fleet.calls] == [("server-1", "facts"), ("agent-1", "facts")]
    (file,) = yaml.safe_load((written.folder / "host_vars/agent-1.yml").read_text())["remote_cluster_files"]
    assert (file["name"], file["size"]) == ("k3s", len(BINARY))
    assert file["path"] == str(session.workspace.folder / "release" / VERSION / "k3s")
    wanted = yaml.safe_load((written.folder / "group_vars/all.yml").read_text())["remote_cluster_expectation"]
    assert wanted["images"] == [IMAGE]
    assert f"10.0.0.11 {KEY}" in (written.folder / "known_hosts").read_text()
    assert session.workspace.path.stat().st_mode & 0o777 == 0o700
    again = await write_inventory(session)
    assert again.changed == ()
    assert f"{written.folder}: nothing changed" in list(show.written_lines(again))


async def test_it_writes_where_it_is_told(session: Session, fleet: FakeFleet, tmp_path: Path) -> None:
    written = await write_inventory(session, tmp_path / "else" / "where")
    assert written.folder == tmp_path / "else" / "where"
    assert (written.folder / "hosts.yml").exists()
    assert not session.workspace.path.exists()


async def test_nothing_is_written_where_applying_would_be_refused(session: Session, fleet: FakeFleet) -> None:
    fleet.answers = {**fleet.answers, "agent-1": HostUnreachable("the host does not answer", where="agent-1")}
    written = await write_inventory(session)
    assert written.exit_code == 4
    assert list(show.written_lines(written))[-1] == "Refused: nothing was written."
    assert inventory_answer(written).changed == ()
    assert not session.workspace.path.exists()


async def test_machines_have_to_be_there(session: Session, fleet: FakeFleet) -> None:
    class Empty:
        async def survey(self) -> Survey:
            return Survey(True, (SurveyedMachine("server-1", "missing"), SurveyedMachine("agent-1", "missing")))

    with pytest.raises(Refused) as caught:
        await write_inventory(replace(session, provider=cast("Any", Empty())))
    assert (caught.value.code, caught.value.where) == ("cluster.missing", "server-1, agent-1")
    assert fleet.calls == []


def test_a_cluster_that_is_not_recorded_is_mentioned() -> None:
    empty = situation(spec(1))
    made = executed(empty, plan_stages(empty))
    assert unrecorded(empty) == ()
    assert "pk3s apply records it" in unrecorded(made)[0]
    assert unrecorded(replace(made, record=ClusterRecord("a" * 64, VERSION))) == ()
