"""use-cases/multipass as its README says, over lab machines: a strict stand-in for the command makes them.

What stands in is the command `multipass`, the virtual machine and cloud-init; everything else is what a person has.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_bed import REPOSITORY, Machine, Release, conditions
from multipass_stub import machines as stand_in
from multipass_stub.bed import Stub, install
from multipass_stub.state import Instance
from pk3s_bed import Done, Site
from productive_k3s_infra.providers.local import leftovers, machines

USE_CASE = REPOSITORY / "use-cases" / "multipass"
NAMES = ("server-1", "agent-1", "agent-2")
OURS = tuple(f"multipass-{name}" for name in NAMES)


@dataclass(frozen=True)
class StubSite(Site):
    """A folder whose PATH has the stand-in in front."""

    bin: Path = Path()

    def __post_init__(self) -> None:
        self.environment["PATH"] = f"{self.bin}{os.pathsep}{self.environment['PATH']}"


@dataclass(frozen=True)
class Life:
    """How each run of pk3s ended, in this order, and what was seen between them."""

    planned: Done
    applied: Done
    ready: Mapping[str, str]
    addresses: Mapping[str, list[str]]
    hosts: Mapping[str, str]
    again: Done
    bigger: Done
    status: Done
    shrunk: Done
    left_of_shrinking: Mapping[str, Instance]
    nodes_after: frozenset[str]
    started: Done
    destroyed: Done
    left: Mapping[str, Instance]
    left_of_machines: tuple[Machine, ...]
    left_of_records: frozenset[str]
    calls: tuple[tuple[str, ...], ...]
    seen_files: str


def edit(site: Site, old: str, new: str) -> None:
    text = site.file.read_text()
    assert text.count(old) == 1, old
    site.file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    stub = install(tmp_path_factory.mktemp("multipass"))
    stub.set(with_machines=True)
    stub.put("somebody")
    stub.put("thrown-away", "Deleted")
    yield stub
    root, name = stand_in.bed_of(stub.folder).root, stand_in.set_of(stub.folder)
    machines.destroy(name, root=root)
    assert not leftovers.leftovers(name, root=root)


@pytest.fixture(scope="module")
def life(stub: Stub, k3s_release: Release, kubectl_tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder = tmp_path_factory.mktemp("site") / "my-cluster"
    shutil.copytree(USE_CASE, folder)
    site = StubSite(folder, k3s_release, kubectl_tool, "multipass", stub.bin)
    planned = site.expect(0, "plan")
    applied = site.expect(0, "apply", "--yes")
    ready = {node["metadata"]["name"]: conditions(node)["Ready"] for node in site.get("nodes")}
    addresses = {name: stand_in.addresses(stub.folder, name) for name in OURS}
    inventory = json.loads((site.workspace / "inventory.json").read_text())
    again = site.pk3s("plan", "--exit-code")
    with site.edited(("machine: {memory: 4G}", "machine: {memory: 8G}")):
        bigger = site.pk3s("apply", "--yes")
    status = site.pk3s("status", "-o", "json")
    edit(site, "count: 2", "count: 1")
    shrunk = site.pk3s("apply", "--yes", "--prune")
    nodes_after = frozenset(node["metadata"]["name"] for node in site.get("nodes"))
    left_of_shrinking = stub.instances
    stop(stub, "multipass-agent-1")
    started = site.pk3s("apply", "--yes")
    files = (path for path in site.workspace.rglob("*") if path.is_file() and path.name != "operator_key")
    seen_files = "".join(path.read_text(errors="replace") for path in files)
    destroyed = site.pk3s("destroy", "--yes")
    return Life(
        planned=planned,
        applied=applied,
        ready=ready,
        addresses=addresses,
        hosts={host["name"]: host["address"] for host in inventory["hosts"]},
        again=again,
        bigger=bigger,
        status=status,
        shrunk=shrunk,
        left_of_shrinking=left_of_shrinking,
        nodes_after=nodes_after,
        started=started,
        destroyed=destroyed,
        left=stub.instances,
        left_of_machines=machines.survey(stand_in.set_of(stub.folder), root=stand_in.bed_of(stub.folder).root),
        left_of_records=frozenset(path.name for path in (site.workspace / "multipass").iterdir()),
        calls=tuple(tuple(words) for words in stub.calls),
        seen_files=seen_files,
    )


def stop(stub: Stub, name: str) -> None:
    """Stop an instance as a person would."""
    stand_in.stop(stub.folder, name)
    stub.change(name, state="Stopped")


def test_the_plan_from_nothing_is_that_of_the_folder(life: Life) -> None:
    golden = (USE_CASE / "plan.txt").read_text().splitlines()
    steps = [line for line in golden if line.startswith("+ create-machine: ")]
    assert len(steps) == 1
    assert [line for line in steps if line not in life.planned.out.splitlines()] == []


def test_three_instances_become_three_ready_nodes(life: Life) -> None:
    assert "multipass: valid (full" in life.applied.out
    assert life.ready == dict.fromkeys(NAMES, "True")


def test_the_addresses_are_those_of_the_leases_not_those_of_k3s(life: Life) -> None:
    """K3s has added its own by the time of the second look."""
    for name in NAMES:
        shown = life.addresses[f"multipass-{name}"]
        assert any(address.startswith("10.42.") for address in shown[1:]), shown
        assert life.hosts[name] == shown[0]


def test_a_second_plan_is_empty(life: Life) -> None:
    assert life.again.code == 0, life.again
    assert "Nothing to change." in life.again.out


def test_another_size_is_refused_and_says_how_to_agree(life: Life) -> None:
    assert life.bigger.code == 4, life.bigger
    said = life.bigger.out + life.bigger.err
    assert "memory is 4.0GiB, the file says 8G" in said
    assert "--replace server-1" in said
    assert not [words for words in life.calls if words[0] in {"set", "purge"}]


def test_status_knows_all_of_it(life: Life) -> None:
    assert life.status.code == 0, life.status


def test_a_node_that_leaves_the_file_leaves_the_cluster_before_its_instance_goes(life: Life) -> None:
    assert life.shrunk.code == 0, life.shrunk
    assert life.nodes_after == {"server-1", "agent-1"}
    assert set(life.left_of_shrinking) == {"multipass-server-1", "multipass-agent-1", "somebody", "thrown-away"}


def test_an_instance_that_was_stopped_is_started_again(life: Life) -> None:
    assert life.started.code == 0, life.started
    assert "start the machine" in life.started.err
    assert "answers on" in life.started.err
    assert [words[-1] for words in life.calls if words[0] == "start"] == ["multipass-agent-1"]


def test_destroy_leaves_what_others_have_made_and_nothing_of_ours(life: Life) -> None:
    assert life.destroyed.code == 0, life.destroyed
    assert set(life.left) == {"somebody", "thrown-away"}
    assert life.left["thrown-away"].state == "Deleted"
    assert (life.left_of_machines, life.left_of_records) == ((), frozenset())


def test_the_private_half_of_a_host_key_is_nowhere_to_be_read(life: Life, stub: Stub) -> None:
    assert "PRIVATE KEY" not in life.seen_files
    assert "PRIVATE KEY" not in json.dumps(life.calls)
