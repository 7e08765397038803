"""`pk3s init --from-host` on this computer: what is written, and that nothing is where something speaks against it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s_infra.cli.adopted import adopted_lines
from productive_k3s_infra.cluster_file.first_file import require_only_hosts
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.errors import BadInput, HostUnreachable
from productive_k3s_infra.hosts.named_hosts import Named, named_hosts
from productive_k3s_infra.inventory.build import Login
from productive_k3s_infra.inventory.model import Endpoint
from productive_k3s_infra.operations import from_host
from productive_k3s_infra.operations.from_host import ToAdopt, look_at, write_adopted
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.workspace.cluster_file import require_free, write_cluster_file
from productive_k3s_infra.workspace.record import read_record, write_record
from static.contract_program.hosts import CA, OTHER_CA, VERSION
from static.fleet_doubles import FakeFleet
from static.plan.test_adopt import INIT, agent, found, server

WANTED = ToAdopt("edge", Named(("10.0.0.11", "10.0.0.21"), user="ops"))


def code_of(work: object, *arguments: object) -> BadInput:
    with pytest.raises(BadInput) as raised:
        work(*arguments)  # type: ignore[operator]
    assert raised.value.remedy
    return raised.value


def test_file_and_lock_are_written_and_the_plan_on_them_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    adopted = write_adopted(file, WANTED, os.environ, found(server(*INIT, "--disable=traefik"), agent(1)))
    assert load_cluster_file(file, os.environ).name == "edge"
    assert read_record(tmp_path, "edge") == ClusterRecord(CA, VERSION)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cluster-file.schema.json",
        "cluster.lock",
        "cluster.yaml",
    ]
    lines = list(adopted_lines(adopted))
    assert lines[0].endswith(f"cluster.lock: 1 server, 1 agent, K3s {VERSION}, etcd")
    # Each node gets the cluster's mark, through the API.
    assert any(line.startswith("2 steps for ") and line.endswith(": ~ 2 change.") for line in lines)
    assert not [line for line in lines if line.startswith("!")]
    assert any("cosmetic: " in line for line in lines)


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("mine\n")
    assert code_of(require_free, file).code == "init.exists"
    assert code_of(write_adopted, file, WANTED, os.environ, found(server(*INIT))).code == "init.exists"
    assert file.read_text() == "mine\n"


def test_a_folder_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    assert code_of(write_cluster_file, tmp_path / "none" / "cluster.yaml", "text").code == "workspace.missing"


def test_a_lock_of_another_cluster_stays(tmp_path: Path) -> None:
    write_record(tmp_path, "edge", ClusterRecord(OTHER_CA, VERSION))
    error = code_of(write_adopted, tmp_path / "cluster.yaml", WANTED, os.environ, found(server(*INIT)))
    assert error.code == "init.lock"
    assert OTHER_CA[:12] in error.evidence
    assert read_record(tmp_path, "edge") == ClusterRecord(OTHER_CA, VERSION)
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.lock"]


@pytest.mark.parametrize("flags", [("--tls-san=*.k3s.example",), ("--cluster-cidr=10.0.0.0/8",)])
def test_what_cannot_be_said_leaves_nothing_behind(tmp_path: Path, flags: tuple[str, ...]) -> None:
    hosts = found(server(*INIT, *flags))
    assert code_of(write_adopted, tmp_path / "cluster.yaml", WANTED, os.environ, hosts).code == "init.cannot-say"
    assert list(tmp_path.iterdir()) == []


async def test_hosts_are_asked_for_facts_only_and_one_that_is_silent_is_an_error() -> None:
    wanted = Named(("10.0.0.11", "10.0.0.21", "10.0.0.11"))
    first, second = found(server(*INIT), agent(1))
    answers = {"10.0.0.11": Result("done", facts=first.facts), "10.0.0.21": Result("done", facts=second.facts)}
    fleet = FakeFleet(answers)
    assert [host.node_name for host in await look_at(named_hosts("edge", wanted), fleet)] == ["server-1", "agent-1"]
    assert {(call.host, call.verb) for call in fleet.calls} == {("10.0.0.11", "facts"), ("10.0.0.21", "facts")}
    silent = FakeFleet(answers, {"10.0.0.21": HostUnreachable("the host does not answer", where="10.0.0.21")})
    with pytest.raises(HostUnreachable):
        await look_at(named_hosts("edge", wanted), silent)


def test_how_hosts_are_reached() -> None:
    wanted = Named(("10.0.0.11", "admin@[fd00::21]:2222"), "ops", 22, "/keys/k", "jumper@bastion.example:2200")
    first, second = (host.endpoint for host in named_hosts("edge", wanted).hosts)
    assert (str(first), str(second)) == ("ops@10.0.0.11:22", "admin@fd00::21:2222")
    assert first.key == "/keys/k"
    assert first.jump == second.jump
    assert str(first.jump) == "jumper@bastion.example:2200"
    assert code_of(named_hosts, "edge", Named(("ops@",))).code == "init.address"


def test_what_nobody_says_of_a_login_the_configuration_says() -> None:
    """And the file says it, as a colleague's configuration may not."""

    def login_of(address: str, user: str | None) -> Login:
        return {("web", None): Login("deploy", 2222), ("gate", "me"): Login("other", 2200)}.get(
            (address, user), Login()
        )

    (first, second, third) = (
        str(host.endpoint) for host in named_hosts("edge", Named(("web", "db", "me@gate")), login_of).hosts
    )
    assert (first, second, third) == ("deploy@web:2222", "root@db:22", "me@gate:2200")
    reach = from_host._reach(Named(("web",)), Path("cluster.yaml"), Endpoint("web", "deploy", 2222))
    assert (reach.user, reach.port) == ("deploy", 2222)


@pytest.mark.parametrize(
    ("key", "written"), [("keys/k", "../keys/k"), ("~/.ssh/k", "~/.ssh/k"), ("/keys/k", "/keys/k")]
)
def test_a_key_is_named_from_home_or_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    reach = from_host._reach(Named((), key=key), Path("site/cluster.yaml"), Endpoint("10.0.0.11"))
    assert reach.key == written


def test_other_wishes_beside_hosts_are_refused() -> None:
    said: dict[str, object] = {"--server": (), "--agents": None, "--version": "", "--region": ""}
    for option, value in (("--server", ("10.0.0.11",)), ("--agents", 0), ("--version", VERSION), ("--region", "eu")):
        error = code_of(require_only_hosts, {**said, option: value})
        assert error.code == "init.from-host"
        assert error.evidence.endswith(option)
    require_only_hosts(said)
