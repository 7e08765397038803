"""The provider `multipass` over the stand-in, without machines: whose an instance is, what is made, what never is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from multipass_stub.bed import Stub, install
from productive_k3s.contract.events import Result
from productive_k3s.contract.facts import Facts, no_k3s
from productive_k3s_infra.cluster_file.load import load_cluster_file
from productive_k3s_infra.errors import BadInput, HostKeyMismatch, HostUnreachable, Pk3sError, ProviderFailed
from productive_k3s_infra.hosts.ssh.first_contact import Patience
from productive_k3s_infra.inventory.build import build_inventory
from productive_k3s_infra.inventory.model import Endpoint, Location
from productive_k3s_infra.inventory.survey import Survey
from productive_k3s_infra.providers.multipass.command import Multipass
from productive_k3s_infra.providers.multipass.instances import instance_name
from productive_k3s_infra.providers.multipass.launching import Limits
from productive_k3s_infra.providers.multipass.provider import MultipassProvider
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.inventory_file import write_inventory
from static.contract_program.simulated import Machine
from static.fleet_doubles import Answer, FakeFleet
from static.plan.test_golden import ASSUMPTIONS

NODES = ("server-1", "agent-1", "agent-2")
SIZE = "{cpus: 2, memory: 4G, disk: 20G}"
FILE = """
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {{name: edge}}
spec:
  provider: {{kind: multipass{machine}}}
  k3s: {{version: v1.34.4+k3s1}}
  nodes:
    - {{name: server-1, role: server}}
    - {{name: agent, role: agent, count: {agents}}}
"""
DONE = Result("done", facts=Facts(host=replace(Machine().facts().host, cloud_init="done"), k3s=no_k3s()))


@dataclass
class Bed:
    """A folder with a cluster file, and the stand-in; its instances answer on SSH as far as the stand-in knows them."""

    folder: Path
    stub: Stub
    said: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False

    def provider(self, *, agents: int = 2, machine: str = "", seconds: float = 5) -> MultipassProvider:
        file = self.folder / "cluster.yaml"
        file.write_text(FILE.format(machine=f", machine: {machine}" if machine else "", agents=agents))
        return MultipassProvider(
            load_cluster_file(file, {}),
            self.workspace,
            command=Multipass(self.stub.run),
            limits=Limits(pause=0, address_seconds=seconds, poll=0.01),
            patience=Patience(ssh_seconds=seconds, cloud_init_seconds=seconds, pause=0.01),
            open_fleet=self.open_fleet,
        )

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "cluster.yaml", "edge")

    def say(self, machine: str, what: str) -> None:
        self.said.append((machine, what))

    def open_fleet(self, endpoints: Mapping[str, Endpoint]) -> FakeFleet:
        """Answer where an instance has the endpoint's address, and with the key that it was given."""
        by_address = {one.ipv4[0]: one for one in self.stub.instances.values() if one.ipv4}
        refuses: dict[str, Pk3sError] = {}
        for name, endpoint in endpoints.items():
            there = by_address.get(endpoint.address)
            if there is None or self.silent:
                refuses[name] = HostUnreachable("does not answer", evidence="no route")
            elif there.host_key not in endpoint.host_keys:
                refuses[name] = HostKeyMismatch("shows another key")
        answers: dict[str, Answer] = dict.fromkeys(endpoints, DONE)
        return FakeFleet(answers, refuses)

    async def make(self, *names: str, **file: object) -> Survey:
        return await self.provider(**file).create(names or NODES, self.say)  # type: ignore[arg-type]


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    (tmp_path / "site").mkdir()
    return Bed(tmp_path / "site", install(tmp_path / "stub"))


def states(survey: Survey) -> dict[str, str]:
    return {machine.name: machine.state for machine in survey.machines}


def code_of(caught: pytest.ExceptionInfo[Pk3sError]) -> str:
    error = caught.value
    assert error.what
    assert error.evidence
    assert error.remedy
    return error.code


async def test_from_nothing_everything_is_missing_and_nothing_is_written(bed: Bed) -> None:
    survey = await bed.provider().survey()
    assert states(survey) == dict.fromkeys(NODES, "missing")
    assert (survey.owns_machines, survey.notes) == (True, ())
    assert replace(survey.assumption, architecture="amd64") == ASSUMPTIONS["multipass"]  # that of its plan.txt
    assert [path.name for path in bed.folder.iterdir()] == ["cluster.yaml"]
    assert [words[0] for words in bed.stub.calls] == ["version", "list"]


async def test_instances_are_made_as_the_file_says_and_are_reached_with_their_key(bed: Bed) -> None:
    survey = await bed.make(machine="{cpus: 3, memory: 6G}")
    assert states(survey) == dict.fromkeys(NODES, "running")
    launched = bed.stub.called("launch")
    assert [words[words.index("--name") + 1] for words in launched] == [f"edge-{name}" for name in NODES]
    for words in launched:
        asked = dict(zip(words[:-1:2], words[1:-1:2], strict=True))
        assert (asked["--cpus"], asked["--memory"], asked["--disk"], words[-1]) == ("3", "6G", "20G", "24.04")
    addresses = {name: bed.stub.instances[f"edge-{name}"].ipv4[0] for name in NODES}
    for machine in survey.machines:
        assert machine.location is not None
        assert machine.location.address == machine.location.endpoint.address == addresses[machine.name]
        assert (machine.location.endpoint.user, machine.location.public_address) == ("pk3s", "")
        assert machine.location.endpoint.key == str(bed.workspace.operator_key)
        assert machine.location.endpoint.host_keys == (bed.stub.instances[f"edge-{machine.name}"].host_key,)
    assert len({one.host_key for one in bed.stub.instances.values()}) == 3
    for path in (bed.workspace.path / "multipass").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert "PRIVATE" not in path.read_text()


async def test_what_runs_is_left_alone(bed: Bed) -> None:
    await bed.make()
    before = bed.stub.instances
    await bed.make()
    assert bed.stub.instances == before
    assert len(bed.stub.called("launch")) == 3
    assert bed.stub.called("start") == []


async def test_what_was_stopped_is_started_with_its_disk(bed: Bed) -> None:
    await bed.make()
    for name, state in (("edge-agent-1", "Stopped"), ("edge-agent-2", "Suspended")):
        bed.stub.change(name, state=state)
    assert states(await bed.provider().survey()) == {"server-1": "running", "agent-1": "stopped", "agent-2": "stopped"}
    assert states(await bed.make("agent-1", "agent-2")) == dict.fromkeys(NODES, "running")
    assert [words[-1] for words in bed.stub.called("start")] == ["edge-agent-1", "edge-agent-2"]
    assert len(bed.stub.called("launch")) == 3


async def test_another_size_than_the_file_says_is_told_and_nothing_else_is_asked_for(bed: Bed) -> None:
    await bed.make()
    assert bed.stub.called("get") == []
    survey = await bed.provider(machine=SIZE).survey()
    assert [machine.differences for machine in survey.machines] == [(), (), ()]
    survey = await bed.provider(machine="{cpus: 4, memory: 8G}").survey()
    assert survey.machines[0].differences == ("cpus is 2, the file says 4", "memory is 4.0GiB, the file says 8G")
    bed.stub.change("edge-server-1", cpus=4, memory=8 << 30)
    survey = await bed.provider(machine="{cpus: 4, memory: 8G}").survey()
    assert [bool(machine.differences) for machine in survey.machines] == [False, True, True]


async def test_a_node_that_left_the_file_is_extra_and_goes_alone(bed: Bed) -> None:
    await bed.make()
    survey = await bed.provider(agents=1).survey()
    assert (states(survey), survey.extra) == (
        {"server-1": "running", "agent-1": "running", "agent-2": "extra"},
        ("agent-2",),
    )
    assert survey.machines[2].location is not None
    await bed.provider(agents=1).destroy(("agent-2", "nobody"), bed.say)
    assert bed.stub.called("delete") == [["--purge", "edge-agent-2"]]
    assert (await bed.provider(agents=1).survey()).extra == ()
    left = {path.name for path in (bed.workspace.path / "multipass").iterdir()}
    assert left == {"server-1.json", "agent-1.json"}


async def test_destroying_all_leaves_what_is_not_ours(bed: Bed) -> None:
    bed.stub.put("somebody", "Deleted")
    bed.stub.put("edge-extra")
    await bed.make()
    bed.stub.change("edge-agent-1", state="Deleted")
    await bed.provider(agents=1).destroy_all(bed.say)
    assert set(bed.stub.instances) == {"somebody", "edge-extra"}
    assert bed.stub.called("purge") == []
    assert list((bed.workspace.path / "multipass").iterdir()) == []
    await bed.provider().destroy_all(bed.say)


async def test_a_name_that_somebody_has_is_told_and_nothing_is_made(bed: Bed) -> None:
    bed.stub.put("edge-agent-2", ipv4=["10.119.5.99"])
    survey = await bed.provider().survey()
    assert states(survey) == dict.fromkeys(NODES, "missing")
    assert "edge-agent-2" in survey.notes[0]
    with pytest.raises(ProviderFailed) as caught:
        await bed.make()
    assert code_of(caught) == "multipass.name-taken"
    assert "edge-agent-2" in caught.value.remedy
    assert bed.stub.called("launch") == []
    assert list(bed.stub.instances) == ["edge-agent-2"]


async def test_a_name_that_somebody_takes_in_the_last_moment_stays_theirs(bed: Bed) -> None:
    bed.stub.put("edge-server-1", ipv4=["10.119.5.99"])
    bed.stub.set(faults={"hidden": 1})
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1")
    assert code_of(caught) == "multipass.name-taken"
    assert list((bed.workspace.path / "multipass").iterdir()) == []
    await bed.provider().destroy_all(bed.say)
    assert list(bed.stub.instances) == ["edge-server-1"]


async def test_an_instance_that_was_made_anew_by_somebody_is_not_ours_any_more(bed: Bed) -> None:
    """Its record is there, and the key that it shows is another: no step of ours may touch it."""
    await bed.make()
    bed.stub.change("edge-agent-1", host_key="ssh-ed25519 AAAAsomebody")
    survey = await bed.provider().survey()
    assert states(survey)["agent-1"] == "missing"
    assert "edge-agent-1" in survey.notes[0]
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("agent-1")
    assert code_of(caught) == "multipass.name-taken"
    await bed.provider().destroy(("agent-1",), bed.say)
    await bed.provider().destroy_all(bed.say)
    assert list(bed.stub.instances) == ["edge-agent-1"]


async def test_one_that_does_not_run_and_has_another_image_is_not_ours(bed: Bed) -> None:
    await bed.make("server-1")
    bed.stub.change("edge-server-1", state="Stopped", image="22.04", image_hash="a" * 64)
    assert states(await bed.provider().survey())["server-1"] == "missing"
    await bed.provider().destroy_all(bed.say)
    assert list(bed.stub.instances) == ["edge-server-1"]


async def test_one_that_boots_and_does_not_answer_yet_stays_ours(bed: Bed) -> None:
    await bed.make("server-1")
    bed.silent = True
    assert states(await bed.provider().survey())["server-1"] == "running"


async def test_launch_failures_that_pass_are_tried_again(bed: Bed) -> None:
    bed.stub.set(faults={"launch-transient": 2})
    assert states(await bed.make("server-1"))["server-1"] == "running"
    assert len(bed.stub.called("launch")) == 3
    assert len([what for _, what in bed.said if "trying again" in what]) == 2


async def test_a_launch_that_never_goes_well_ends_within_bounds_and_the_next_run_makes_it(bed: Bed) -> None:
    bed.stub.set(faults={"launch-transient": 4})
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1")
    assert code_of(caught) == "multipass.launch-failed"
    assert "4 attempts" in caught.value.evidence
    assert bed.stub.instances == {}
    assert states(await bed.provider().survey())["server-1"] == "missing"
    assert states(await bed.make("server-1"))["server-1"] == "running"


async def test_a_launch_that_cannot_go_well_is_not_tried_again(bed: Bed) -> None:
    bed.stub.set(faults={"launch-fails": 1})
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1")
    assert code_of(caught) == "multipass.launch-failed"
    assert "KVM" in caught.value.evidence
    assert len(bed.stub.called("launch")) == 1


async def test_a_launch_that_timed_out_is_waited_for_by_the_next_run(bed: Bed) -> None:
    bed.stub.set(faults={"launch-timeout": 1})
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1", "agent-1")
    assert code_of(caught) == "multipass.launch-timeout"
    assert states(await bed.provider().survey())["server-1"] == "broken"
    assert states(await bed.make("server-1"))["server-1"] == "running"
    assert len(bed.stub.called("launch")) == 1


async def test_a_launch_that_was_cut_off_and_goes_on_in_the_daemon_is_accepted_with_its_key(bed: Bed) -> None:
    bed.stub.set(faults={"launch-timeout": 1})
    with pytest.raises(ProviderFailed):
        await bed.make("server-1")
    first = bed.stub.instances["edge-server-1"].host_key
    bed.stub.set(faults={"hidden": 1})
    survey = await bed.make("server-1")
    assert states(survey)["server-1"] == "running"
    assert len(bed.stub.called("launch")) == 2
    assert bed.stub.instances["edge-server-1"].host_key == first


async def test_without_an_address_the_waiting_ends_and_the_next_run_finds_it(bed: Bed) -> None:
    bed.stub.set(fixed=["no-address"])
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1", seconds=0.3)
    assert code_of(caught) == "multipass.no-address"
    assert "Running" in caught.value.evidence
    assert states(await bed.provider().survey())["server-1"] == "broken"
    bed.stub.set(fixed=[])
    bed.stub.change("edge-server-1", ipv4=["10.119.5.77"])
    assert states(await bed.make("server-1"))["server-1"] == "running"
    assert len(bed.stub.called("launch")) == 1


async def test_one_that_stops_while_it_is_waited_for_ends_the_waiting(bed: Bed) -> None:
    bed.stub.set(faults={"dies": 1})
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1", seconds=3600)
    assert code_of(caught) == "multipass.state"
    assert "Stopped" in caught.value.evidence


async def test_a_state_that_nothing_here_mends_is_told_before_anything_is_begun(bed: Bed) -> None:
    await bed.make("server-1")
    bed.stub.change("edge-server-1", state="Unknown")
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("agent-1", "server-1")
    assert code_of(caught) == "multipass.state"
    assert len(bed.stub.called("launch")) == 1


async def test_one_that_lies_among_the_deleted_is_the_persons_to_decide(bed: Bed) -> None:
    await bed.make("server-1")
    bed.stub.change("edge-server-1", state="Deleted")
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1")
    assert code_of(caught) == "multipass.deleted"
    assert "multipass recover edge-server-1" in caught.value.remedy
    assert (await bed.provider().survey()).notes == (f"{caught.value}: apply will refuse",)
    assert bed.stub.instances["edge-server-1"].state == "Deleted"


async def test_one_that_does_not_let_us_in_is_told(bed: Bed) -> None:
    bed.silent = True
    with pytest.raises(ProviderFailed) as caught:
        await bed.make("server-1", seconds=0.2)
    assert code_of(caught) == "machine.no-ssh"
    assert states(await bed.provider().survey())["server-1"] == "broken"
    bed.silent = False
    assert states(await bed.make("server-1"))["server-1"] == "running"
    assert len(bed.stub.called("launch")) == 1


async def test_a_changed_lease_is_noticed_and_followed(bed: Bed) -> None:
    survey = await bed.make("server-1", agents=1)
    there = survey.machines[0].location
    assert there is not None
    spec = load_cluster_file(bed.folder / "cluster.yaml", {})
    write_inventory(bed.workspace, build_inventory(spec, {"server-1": there, "agent-1": Location("192.0.2.9", HERE)}))
    assert (await bed.provider(agents=1).survey()).notes == ()
    bed.stub.change("edge-server-1", ipv4=["10.119.5.200", "10.42.0.1"])
    survey = await bed.provider(agents=1).survey()
    assert there.address in survey.notes[0]
    assert "10.119.5.200" in survey.notes[0]
    location = survey.machines[0].location
    assert location is not None
    assert location.address == location.endpoint.address == "10.119.5.200"


HERE = Endpoint("192.0.2.9")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"fixed": ["daemon-down"]}, "multipass.daemon-down"),
        ({"fixed": ["no-access"]}, "multipass.no-access"),
        ({"daemon_version": "1.9.0"}, "multipass.too-old"),
    ],
)
async def test_what_is_wrong_with_multipass_is_told_before_anything_is_made(
    bed: Bed, values: dict[str, object], code: str
) -> None:
    bed.stub.set(**values)
    for attempt in (bed.provider().survey(), bed.make(), bed.provider().destroy_all(bed.say)):
        with pytest.raises(ProviderFailed) as caught:
            await attempt
        assert code_of(caught) == code
    assert bed.stub.called("launch") == []


async def test_a_record_that_cannot_be_read_is_no_reason_to_guess(bed: Bed) -> None:
    await bed.make("server-1")
    path = bed.workspace.path / "multipass" / "server-1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "record": 2}))
    with pytest.raises(BadInput) as caught:
        await bed.provider().survey()
    assert code_of(caught) == "multipass.record"


@pytest.mark.parametrize(
    ("cluster", "node", "name"),
    [
        ("edge", "server-1", "edge-server-1"),
        ("7th", "agent", "k3s-7th-agent"),
        ("edge", "agent-1.example", "edge-agent-1-example"),
        ("edge", "n" * 58, "edge-" + "n" * 58),
        ("edge", "n" * 59, "edge-" + "n" * 51 + "-eda43a"),
    ],
)
def test_an_instance_is_named_for_its_cluster_and_node(cluster: str, node: str, name: str) -> None:
    assert instance_name(cluster, node) == name
