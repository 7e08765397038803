"""use-cases/aws-single-node with a second node, from nothing to nothing.

OpenTofu, its AWS provider, SSH and the machines are real; moto plays EC2. The first apply is killed while an instance
is being made, so that nobody has written it down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_bed import Bed, Release
from live.aws_bed import World, node_line, public_half, world
from pk3s_bed import Done
from tofu_bed import TofuBed


@dataclass(frozen=True)
class Life:
    """How each run of pk3s ended, in this order, and what was seen between them."""

    cut: Done
    cut_instances: list[str]
    healed: Done
    instances: list[str]
    whole: Mapping[str, list[str]]
    seeds: tuple[str, ...]
    shown: Mapping[str, str]
    known_hosts: str
    files: Mapping[str, str]
    again: Done
    shrunk: Done
    departed: tuple[str, list[str]]
    names: list[str]
    destroyed: Done
    left: Mapping[str, list[str]]
    known_hosts_in_the_end: str


@pytest.fixture(scope="module")
def life(
    module_lab: Bed, k3s_release: Release, kubectl_tool: Path, tofu: TofuBed, tmp_path_factory: pytest.TempPathFactory
) -> Life:
    folder = tmp_path_factory.mktemp("aws") / "my-cluster"
    with world(folder, module_lab, k3s_release, kubectl_tool, tofu, "server-1", "agent-1") as found:
        return live(found)


def live(found: World) -> Life:
    site, cloud = found.site, found.cloud
    cut = found.cut_at_first_instance("apply", "--yes")
    cut_instances = [one["InstanceId"] for one in cloud.instances()]
    healed = site.expect(0, "apply", "--yes")
    instances = [one["InstanceId"] for one in cloud.instances()]
    whole = cloud.left()
    seeds = tuple(cloud.seed(one) for one in instances)
    shown = {machine.name: found.known(machine).host_key for machine in found.machines}
    known_hosts = (site.path / "known_hosts").read_text()
    files = {path.name: path.read_text() for path in site.tofu_folder.iterdir() if path.is_file()}
    cloud.add_image("2026-02-01")
    again = site.pk3s("plan", "--exit-code")
    with site.edited((node_line(found.machines[1]), "")):
        shrunk = site.pk3s("apply", "--yes", "--prune", "-o", "json")
        departed, names = found.departed[-1], cloud.names()
        destroyed = site.pk3s("destroy", "--yes")
    left = cloud.left()
    known = (site.path / "known_hosts").read_text() if (site.path / "known_hosts").exists() else ""
    return Life(
        cut, cut_instances, healed, instances,
        whole,
        seeds, shown, known_hosts, files, again, shrunk, departed, names, destroyed, left, known,
    )  # fmt: skip


def test_a_killed_apply_is_healed_and_nothing_is_made_twice(life: Life) -> None:
    assert life.cut.code == -9, life.cut
    assert len(life.cut_instances) > 0
    assert set(life.cut_instances) <= set(life.instances)
    assert {what: len(ids) for what, ids in life.whole.items()} == {
        "instances": 2,
        "groups": 1,
        "key pairs": 1,
        "volumes": 2,
    }
    assert "aws: valid (full" in life.healed.out


def test_the_key_given_to_a_machine_is_not_its_key_any_more(life: Life) -> None:
    given = {public_half(seed) for seed in life.seeds}
    assert len(given) == 2
    assert not given & set(life.shown.values())
    for name, key in life.shown.items():
        assert f" {key}" in life.known_hosts, name
    for instance in life.instances:
        assert f"{instance}," in life.known_hosts


def test_what_was_given_lies_nowhere(life: Life) -> None:
    for seed in life.seeds:
        body = seed.splitlines()[2]
        for name, text in {**life.files, "out": life.healed.out, "err": life.healed.err}.items():
            assert body not in text, name
    assert not [name for name in life.files if name.endswith(".tfplan") or name == "seeds.json"]


def test_a_newer_image_changes_nothing(life: Life) -> None:
    assert life.again.code == 0, life.again
    assert "Nothing to change." in life.again.out


def test_a_node_leaves_before_its_instance_goes(life: Life) -> None:
    assert life.shrunk.code == 0, life.shrunk
    steps = [result["step"] for result in life.shrunk.document["results"]]
    assert steps == ["agent-1/remove-node", "agent-1/destroy-machine"]
    assert life.departed == ("aws-agent-1", ["server-1"])
    assert life.names == ["aws-server-1"]


def test_destroy_leaves_nothing(life: Life) -> None:
    assert life.destroyed.code == 0, life.destroyed
    assert "the security group sg-" in life.destroyed.out + life.destroyed.err
    assert life.left == {}
    assert life.known_hosts_in_the_end == ""
