"""Killed anywhere, the next run ends well: the same CA, the same Node, nothing done twice, nothing left to do."""

from __future__ import annotations

import random

import pytest

from lab_bed import Bed, Machine, Release, started
from live.fingerprint import differences, fingerprint
from live.program_bed import (
    PROGRAM,
    SINGLE_NODE,
    Run,
    ca_hash,
    equip,
    node_uid,
    plan,
    read_wire,
    run_until,
    succeed,
)

# An installation says about 30 lines on its wire and calls its door about 150 times.
LINES = range(2, 36)
EFFECTS = range(1, 150)
SAMPLE = sorted(random.Random("lines").sample(LINES, 2))
MANY_EFFECTS = sorted(random.Random("effects").sample(EFFECTS, 24))


@pytest.fixture
def fresh(lab: Bed, k3s_release: Release) -> Machine:
    """A machine that has the program and a release, and no K3s."""
    (machine,) = lab.create("kill", "fresh")
    equip(lab, k3s_release, machine)
    return machine


def is_started(bed: Bed, machine: Machine) -> tuple[str, str, str]:
    """What changes when the unit is started again; empty before its first start."""
    run_id, _, restarts = started(bed, machine, "k3s")
    return run_id, "", restarts


def mend(bed: Bed, machine: Machine, killed: Run) -> None:
    """Run again after a kill, and see that it is the same cluster and that nothing ran twice."""
    assert killed.result == {}, "it was to be killed"
    ca, uid, unit = ca_hash(bed, machine), node_uid(bed, machine), is_started(bed, machine)
    again = succeed(bed, machine, SINGLE_NODE)
    done = killed.of("change-done")
    assert [change for change in again.changes if change in done] == [], "what was done is not done again"
    assert plan(bed, machine) == []
    assert ca in ("", ca_hash(bed, machine))
    assert uid in ("", node_uid(bed, machine))
    if unit[0]:
        assert is_started(bed, machine) == unit, "what ran already was not started again"


def test_killed_after_every_single_change(lab: Bed, fresh: Machine) -> None:
    """Each run is killed when it has made one change: the whole installation takes as many runs as it has changes."""
    wanted = plan(lab, fresh)
    made: list[str] = []
    seen: set[tuple[str, str]] = set()
    for _ in range(len(wanted) + 1):
        done = run_until(lab, fresh, SINGLE_NODE, what="change-done", count=1)
        if done.result:
            break
        made += done.of("change-done")
        if lab.try_ssh(fresh, "systemctl is-active --quiet k3s").returncode == 0:
            seen.add((ca_hash(lab, fresh), is_started(lab, fresh)[0]))
    assert made == wanted, "every change once, in the order of the plan"
    assert (done.exit_code, done.outcome) == (0, "unchanged")
    assert plan(lab, fresh) == []
    assert len(seen) == 1, "one cluster, started once"
    assert started(lab, fresh, "k3s")[2] == "0"


def test_killed_while_it_waits(lab: Bed, fresh: Machine) -> None:
    mend(lab, fresh, run_until(lab, fresh, SINGLE_NODE, what="waiting", count=2))


@pytest.mark.parametrize("line", SAMPLE)
def test_killed_at_a_line(lab: Bed, fresh: Machine, line: int) -> None:
    mend(lab, fresh, run_until(lab, fresh, SINGLE_NODE, what="line", count=line))


@pytest.mark.soak
@pytest.mark.parametrize("line", LINES)
def test_killed_at_every_line(lab: Bed, fresh: Machine, line: int) -> None:
    killed = run_until(lab, fresh, SINGLE_NODE, what="line", count=line)
    if killed.result:
        assert plan(lab, fresh) == [], "the run had fewer lines"
    else:
        mend(lab, fresh, killed)


@pytest.mark.soak
@pytest.mark.parametrize("effect", MANY_EFFECTS)
def test_killed_in_the_middle_of_a_change(lab: Bed, fresh: Machine, effect: int) -> None:
    killed = run_until(lab, fresh, SINGLE_NODE, what="effect", count=effect)
    if killed.result:
        assert plan(lab, fresh) == [], "the run had fewer effects"
    else:
        mend(lab, fresh, killed)


def test_a_signal_ends_it_between_two_changes(lab: Bed, fresh: Machine) -> None:
    for signal in ("SIGTERM", "SIGINT", "SIGHUP"):
        wanted = plan(lab, fresh)
        done = run_until(lab, fresh, SINGLE_NODE, what="change-started", count=2, signal=signal)
        assert (done.exit_code, done.outcome) == (130, "interrupted")
        assert (done.failure["code"], done.failure["evidence"]) == ("run.interrupted", signal)
        assert done.changes == done.of("change-done") == wanted[:2], "the change that ran was finished, none was begun"
        assert plan(lab, fresh) == wanted[2:]


def test_without_a_reader_it_stops_after_the_change_it_makes(lab: Bed, fresh: Machine) -> None:
    wanted = plan(lab, fresh)
    done = lab.try_ssh(fresh, f"python3 {PROGRAM} {SINGLE_NODE} --json | head -n 3; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 130
    assert done.stderr == ""
    assert len(read_wire(done).events) == 2
    left = plan(lab, fresh)
    assert 0 < len(left) < len(wanted)
    assert left == wanted[-len(left) :]
    assert "start:k3s" in left, "it did not go on to the end"


def install_with_pods(bed: Bed, machine: Machine) -> None:
    """Make a node and wait until K3s' own pods run: then there is something of everything to remove."""
    succeed(bed, machine, SINGLE_NODE)
    succeed(bed, machine, "validate --scope cluster")
    assert "cni0" in bed.ssh(machine, "ls /sys/class/net")


@pytest.fixture
def with_images(lab: Bed, k3s_release: Release) -> Machine:
    """A machine whose pods can run."""
    (machine,) = lab.create("kill", "old")
    equip(lab, k3s_release, machine, images=True)
    return machine


def test_an_uninstallation_that_is_killed_after_every_change_leaves_nothing(lab: Bed, with_images: Machine) -> None:
    before = fingerprint(lab, with_images)
    install_with_pods(lab, with_images)
    assert differences(before, fingerprint(lab, with_images)), "an installation is seen"
    made: list[str] = []
    # Once it was stopped nobody can be asked any more who else lives there.
    words = f"uninstall --cluster {ca_hash(lab, with_images)[:8]} --yes --force"
    for _ in range(10):
        done = run_until(lab, with_images, words, what="change-done", count=len(made) + 1)
        if done.result:
            break
        made = done.of("change-done")
    assert made[-1] == "files:host"
    assert (done.exit_code, done.outcome) == (0, "unchanged")
    assert differences(before, fingerprint(lab, with_images)) == []


@pytest.mark.soak
def test_a_host_can_come_and_go_as_often_as_one_likes(lab: Bed, with_images: Machine) -> None:
    before = fingerprint(lab, with_images)
    authorities = set()
    for _ in range(3):
        install_with_pods(lab, with_images)
        authorities.add(ca_hash(lab, with_images))
        succeed(lab, with_images, f"uninstall --cluster {ca_hash(lab, with_images)} --yes")
        assert differences(before, fingerprint(lab, with_images)) == []
        lab.allow_cgroup_v1(with_images)
    assert len(authorities) == 3, "each a cluster of its own"
