"""The parts of the local provider that need no machine."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productive_k3s.doors.host import run_to_end
from productive_k3s.facts.flag_files import fail_cgroup_v1
from productive_k3s_infra import _flock, _process
from productive_k3s_infra.cluster_file.provider import LocalProvider
from productive_k3s_infra.errors import BadInput, Locked, ProviderFailed, Refused
from productive_k3s_infra.inventory.model import Endpoint, Host
from productive_k3s_infra.plan.assumed import assumed_facts
from productive_k3s_infra.providers.local import (
    cgroup,
    ground,
    image,
    machines,
    model,
    network,
    power,
    prepare,
    provider,
    store,
    sysctl,
)
from productive_k3s_infra.providers.local.kubelet import DROP_IN
from productive_k3s_infra.providers.local.leftovers import parse_mounts_below
from productive_k3s_infra.providers.local.lock import hold
from productive_k3s_infra.providers.local.model import MachineRecord, MachineRequest, SetRecord
from productive_k3s_infra.providers.local.store import MachineFolder, SetFolder
from static.contract_program.simulated import SimulatedSystem

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDV6q4p operator"


def a_set(*names: str, number: int = 3) -> SetRecord:
    record = SetRecord("demo", number)
    for name in names:
        machine = MachineRecord(MachineRequest(name), model.choose_octet(record), "0" * 32, "/image")
        record = replace(record, machines=(*record.machines, machine))
    return record


# Networks and addresses


@given(st.lists(st.integers(0, 2**32 - 1).map(lambda number: IPv4Network((number, 22), strict=False)), max_size=4))
def test_a_chosen_network_touches_nothing_that_is_taken(taken: list[IPv4Network]) -> None:
    number = model.choose_number(tuple(taken), frozenset({0, 1}))
    assert number not in (0, 1)
    assert not any(model.NETWORKS[number].overlaps(other) for other in taken)


def test_no_free_network_is_an_error_with_a_remedy() -> None:
    with pytest.raises(BadInput) as caught:
        model.choose_number((IPv4Network("10.0.0.0/8"),), frozenset())
    assert "destroy" in caught.value.remedy


def test_networks_are_read_from_routes_and_addresses() -> None:
    routes = [
        {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
        {"dst": "10.213.0.0/24", "dev": "br0"},
        {"type": "unreachable", "dst": "172.20.0.0/14"},
        {"type": "local", "dst": "10.213.1.7", "dev": "lo", "table": "local"},
    ]
    addresses = [{"ifname": "down0", "addr_info": [{"local": "10.213.2.9", "prefixlen": 24}]}, {}]
    found = network.parse_networks(json.dumps(routes), json.dumps(addresses))
    assert {str(one) for one in found} == {"10.213.0.0/24", "172.20.0.0/14", "10.213.1.7/32", "10.213.2.0/24"}
    assert model.choose_number(found, frozenset()) == 3


def test_an_address_is_used_again_only_when_its_machine_is_gone() -> None:
    record = a_set("a", "b", "c")
    assert [machine.octet for machine in record.machines] == [11, 12, 13]
    without_b = replace(record, machines=(record.machines[0], record.machines[2]))
    assert model.choose_octet(without_b) == 12
    with pytest.raises(BadInput, match="full"):
        model.choose_octet(a_set(*(f"m{number}" for number in range(240))))


def test_who_is_not_root_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused) as caught:
        machines.sets(root=tmp_path)
    assert (caught.value.code, caught.value.exit_code) == ("local.root", 4)
    assert "sudo" in caught.value.remedy


def test_a_bridge_of_another_set_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = a_set("server-1")
    theirs = json.dumps([{"ifname": record.bridge, "ifalias": "productive-k3s of somebody else"}])
    asked: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...], **_: object) -> _process.ProcessResult:
        asked.append(argv)
        return _process.ProcessResult(argv, 0, theirs, "")

    monkeypatch.setattr(_process, "run", run)
    with pytest.raises(ProviderFailed) as caught:
        network.ensure_bridge(record, tmp_path)
    assert (caught.value.code, caught.value.evidence) == ("local.bridge-taken", "productive-k3s of somebody else")
    assert asked == [("ip", "-j", "link", "show")]


def test_interface_names_fit_the_kernel() -> None:
    """IFNAMSIZ is 16 with the end mark; a longer name would be hashed, and not be found again."""
    record = a_set("a", number=255)
    machine = replace(record.machines[0], octet=model.MACHINE_OCTETS[-1])
    assert len(f"vb-{record.container(machine)}") <= 15
    assert len(record.bridge) <= 15


# What is asked


@pytest.mark.parametrize(
    "request_",
    [
        MachineRequest("Upper"),
        MachineRequest("a.b"),
        MachineRequest("../a"),
        MachineRequest("-a"),
        MachineRequest(""),
        MachineRequest("a" * 41),
        MachineRequest("a", ssh_port=0),
        MachineRequest("a", ssh_port=65536),
        MachineRequest("a", disk_bytes=4096),
        MachineRequest("a", extra_user="root"),
        MachineRequest("a", extra_user="a b"),
        MachineRequest("a", sudoers="ALL=(ALL) ALL"),
        MachineRequest("a", extra_user="ops", sudoers="ALL=(ALL) ALL\nroot ALL=(ALL) ALL"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_anything_is_made(request_: MachineRequest) -> None:
    with pytest.raises(BadInput):
        model.require_requests((request_,))


def test_names_of_a_set_are_unique() -> None:
    model.require_requests((MachineRequest("a"), MachineRequest("b", extra_user="ops", sudoers="ALL=(ALL) ALL")))
    with pytest.raises(BadInput, match="twice"):
        model.require_requests((MachineRequest("a"), MachineRequest("a", ssh_port=23)))


@pytest.mark.parametrize("key", ["", "-----BEGIN OPENSSH PRIVATE KEY-----", f"{KEY}\n{KEY}", 'command="x" ' + KEY])
def test_only_one_plain_public_key_is_authorized(key: str) -> None:
    model.require_public_key(KEY + "\n")
    with pytest.raises(BadInput):
        model.require_public_key(key)


def test_a_machine_is_never_silently_another_than_was_asked() -> None:
    record = a_set("a")
    assert ground.with_machine(record, MachineRequest("a"), Path("/other-image")) == record
    with pytest.raises(Refused) as caught:
        ground.with_machine(record, MachineRequest("a", ssh_port=2222), Path("/image"))
    assert caught.value.code == "local.machine-differs"


# Files of a machine

OUTSIDE = st.lists(st.sampled_from(["127.0.0.1 localhost", "10.0.0.1 registry", "", "# a note"]))


@given(OUTSIDE, OUTSIDE)
def test_hosts_keeps_what_others_wrote_and_forgets_machines_that_are_gone(before: list[str], after: list[str]) -> None:
    first, second = a_set("a", "b"), a_set("a", "c")
    theirs = ["127.0.0.1 localhost", *before]
    text = prepare.render_hosts("\n".join(theirs) + "\n", first, first.machines[0]) + "".join(
        f"{line}\n" for line in after
    )
    again = prepare.render_hosts(text, second, second.machines[0])
    assert "10.213.3.12 b\n" in text
    begin, end = "# machines of this set: begin", "# machines of this set: end"
    assert again.splitlines() == [*theirs, *after, begin, "10.213.3.11 a", "10.213.3.12 c", end]
    assert prepare.render_hosts(again, second, second.machines[0]) == again


def test_a_new_machine_knows_itself_and_localhost() -> None:
    record = a_set("a")
    lines = prepare.render_hosts("", record, record.machines[0]).splitlines()
    assert lines[0] == "127.0.0.1 localhost"
    assert "127.0.1.1 a" in lines


# Records


def test_a_record_survives_its_file() -> None:
    request = MachineRequest("b", 2222, 16 << 20, read_only=True, extra_user="ops", sudoers="ALL=(ALL) ALL")
    record = a_set("a")
    record = replace(record, machines=(*record.machines, MachineRecord(request, 12, "1" * 32, "/image")))
    assert store.parse_record(store.render_record(record), Path("set.json")) == record


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "name": "x", "number": 1}'])
def test_an_unreadable_record_is_an_error_that_names_the_file(text: str) -> None:
    with pytest.raises(ProviderFailed) as caught:
        store.parse_record(text, Path("/somewhere/set.json"))
    assert caught.value.where == "/somewhere/set.json"
    assert caught.value.code == "local.record-unreadable"


def test_a_write_that_fails_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record"
    store.write_atomically(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        store.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert path.stat().st_mode & 0o777 == 0o600


# Control groups and processes

V1 = """\
30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/systemd rw,nosuid shared:9 - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/net_cls rw,nosuid - cgroup cgroup rw,net_cls
35 30 0:31 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
"""
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_the_file_allows_as_many_machines_as_there_are_addresses() -> None:
    assert len(model.MACHINE_OCTETS) == LocalProvider.capabilities.most_machines


def test_machines_have_the_control_groups_of_this_computer(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    for text, version in ((V1, 1), (V2, 2)):
        mountinfo.write_text(text)
        assert cgroup.version(mountinfo) == version
    assert cgroup.version(tmp_path / "none") == 2


@pytest.mark.parametrize(("version", "told"), [(1, True), (2, False)])
def test_the_kubelets_of_machines_are_told_of_control_groups_that_they_would_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, *, told: bool
) -> None:
    monkeypatch.setattr(provider.cgroup, "version", lambda: version)
    monkeypatch.setattr(provider.machines, "create", lambda *_, **__: None)
    monkeypatch.setattr(provider.machines, "survey", lambda *_, **__: ())
    made = provider.LocalProvider("edge", ("server-1",), tmp_path / "key", lambda: "key", root=tmp_path)
    survey = asyncio.run(made.create(("server-1",), lambda *_: None))
    system = SimulatedSystem()
    for path in tmp_path.rglob("*.conf"):
        system.put({f"/var/lib/rancher/{str(path).partition('/rancher/')[2]}": path.read_text()})
    assert run_to_end(fail_cgroup_v1(system)) is (False if told else None)
    facts = assumed_facts(Host("server-1", "server", "10.0.0.11", Endpoint("10.0.0.11", "root")), survey.assumption)
    assert facts.k3s.fail_cgroup_v1 is (False if told else None)


def test_they_are_told_before_a_machine_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after a start, nobody would come back to a machine that runs."""
    folder = SetFolder(tmp_path, "edge").machine("server-1")

    def create(*_: object, before_start: Callable[[MachineFolder], None], **__: object) -> None:
        before_start(folder)
        assert (folder.rancher / DROP_IN).exists()
        raise ProviderFailed("killed here")

    monkeypatch.setattr(provider.cgroup, "version", lambda: 1)
    monkeypatch.setattr(provider.machines, "create", create)
    made = provider.LocalProvider("edge", ("server-1",), tmp_path / "key", lambda: "key", root=tmp_path)
    with pytest.raises(ProviderFailed, match="killed here"):
        asyncio.run(made.create(("server-1",), lambda *_: None))


def test_the_hierarchies_of_this_computer_are_read_from_its_mounts() -> None:
    v1, v2 = cgroup.parse_hierarchies(V1)
    assert [path.name for path in v1] == ["systemd", "cpu,cpuacct", "pids"]
    assert v2 == Path("/sys/fs/cgroup/unified")
    assert cgroup.parse_hierarchies(V2) == ((), Path("/sys/fs/cgroup"))
    assert cgroup.parse_hierarchies("24 1 0:2 / / rw - ext4 /dev/sda rw\n") == ((), None)


def test_systemd_delegates_a_service_of_its_own_to_each_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where systemd manages a unified hierarchy; stand-ins for its two programs record what they are asked."""
    for program in ("systemd-run", "systemctl"):
        stand_in = tmp_path / program
        stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" {program} "$@" >> "{tmp_path}/asked"\n')
        stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    groups = cgroup.SystemdCgroups(tmp_path / "cgroup")
    group = cgroup.group_name(Path("/root/demo"), "a")
    groups.start(group, ("systemd-nspawn", "--boot"), Path("/log"))
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-3:] == ["--", "systemd-nspawn", "--boot"]
    assert {"--property=Delegate=yes", "--property=RestartForceExitStatus=133"} <= set(asked)
    unit = next(word for word in asked if word.startswith("--unit=")).removeprefix("--unit=")
    inside = tmp_path / "cgroup/machine.slice" / unit / "payload"
    inside.mkdir(parents=True)
    (inside / "cgroup.procs").write_text("41\n42\n")
    assert groups.processes(group) == (41, 42)
    assert groups.remains(group) == groups.remains(cgroup.group_name(Path("/root/demo")))
    assert groups.remains(cgroup.group_name(Path("/other/demo"))) == ()


@pytest.mark.parametrize(
    ("line", "is_first"),
    [
        ("NSpid:\t4711\t1", True),
        ("NSpid:\t1", False),  # this computer's own
        ("NSpid:\t4711\t12", False),
        ("NSpid:\t4711\t400\t1", False),  # a pod's, inside the machine
        ("Pid:\t4711", False),
    ],
)
def test_only_the_machines_own_first_process_is_taken_for_it(line: str, *, is_first: bool) -> None:
    assert power.is_first_process(f"Name:\tx\n{line}\nThreads:\t1\n") is is_first


def test_no_machine_may_set_the_clock() -> None:
    record = a_set("a")
    argv = power.nspawn_argv(record, record.machines[0], store.MachineFolder(Path("/machines/demo/a")))
    assert argv.index("--drop-capability=CAP_SYS_TIME") > argv.index("--capability=all")


def test_mounts_of_a_set_are_found_innermost_first() -> None:
    text = "\n".join(
        f"1 2 0:1 / {place} rw - ext4 x rw"
        for place in ("/", "/r/demo/a/data", "/r/demo/a/data/x", "/r/demo-2/a", "/r/demo/b\\040c")
    )
    found = [str(place) for place in parse_mounts_below(text, Path("/r/demo"))]
    assert found == ["/r/demo/b c", "/r/demo/a/data/x", "/r/demo/a/data"]


# The kernel's settings


def test_settings_are_put_back_as_they_were_before_the_first_machine(tmp_path: Path) -> None:
    proc, run = tmp_path / "proc", tmp_path / "run"
    before = {"fs/inotify/max_user_instances": "128", "vm/overcommit_memory": "0", "kernel/panic": "0"}
    for name, value in before.items():
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).write_text(value + "\n")
    sysctl.save_and_raise(run, proc)
    assert int((proc / "fs/inotify/max_user_instances").read_text()) >= 8192
    (proc / "vm/overcommit_memory").write_text("1\n")  # what a kubelet does
    sysctl.save_and_raise(run, proc)  # the second set must not remember what the first one did
    sysctl.restore(run, proc)
    assert {name: (proc / name).read_text().strip() for name in before} == before
    (proc / "kernel/panic").write_text("7\n")  # and later changes are not ours
    sysctl.restore(run, proc)
    assert (proc / "kernel/panic").read_text() == "7\n"


def test_a_setting_that_is_high_enough_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "proc/fs/inotify/max_user_instances"
    path.parent.mkdir(parents=True)
    path.write_text("100000\n")
    sysctl.save_and_raise(tmp_path / "run", tmp_path / "proc")
    assert path.read_text() == "100000\n"


# The image


def test_another_content_is_another_image(tmp_path: Path) -> None:
    recipe = image.Recipe()
    assert recipe.digest() == image.Recipe().digest()
    changed = (
        replace(recipe, packages=(*recipe.packages, "vim")),
        replace(recipe, masked=()),
        replace(recipe, files=((recipe.files[0][0], 0o700, recipe.files[0][2]), *recipe.files[1:])),
    )
    assert len({image.image_path(one, tmp_path) for one in (recipe, *changed)}) == 4


def test_machines_do_not_bring_what_k3s_brings_itself() -> None:
    ours = {"containerd", "runc", "containernetworking-plugins", "python3-yaml", "python3-cryptography"}
    assert not ours & set(image.Recipe().packages)


def test_missing_programs_name_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProviderFailed) as caught:
        image.ensure_image(cache=tmp_path / "cache")
    assert caught.value.code == "local.packages-missing"
    assert caught.value.remedy.startswith("apt-get install ")
    assert {"mmdebstrap", "systemd-container", "iproute2"} <= set(caught.value.remedy.split())


# The lock


def _hold_until_told(path: Path, held: Event, let_go: Event) -> None:
    with hold(path, "the test"):
        held.set()
        let_go.wait(30)
        path.unlink()


@pytest.fixture
def other_holder(tmp_path: Path) -> Any:
    context = multiprocessing.get_context("spawn")
    held, let_go = context.Event(), context.Event()
    process = context.Process(target=_hold_until_told, args=(tmp_path / "lock", held, let_go))
    process.start()
    assert held.wait(30)
    yield process, let_go.set
    process.kill()
    process.join()


def test_a_lock_that_is_held_names_its_holder(tmp_path: Path, other_holder: tuple[Any, Callable[[], None]]) -> None:
    process, _ = other_holder
    with pytest.raises(Locked) as caught, hold(tmp_path / "lock", "the test", timeout_seconds=0.1):
        pytest.fail("two processes hold one lock")
    assert str(process.pid) in caught.value.evidence
    assert caught.value.exit_code == 7


def test_a_lock_dies_with_its_holder(tmp_path: Path, other_holder: tuple[Any, Callable[[], None]]) -> None:
    process, _ = other_holder
    process.kill()
    with hold(tmp_path / "lock", "the test", timeout_seconds=20):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


@pytest.mark.parametrize("successor", [False, True])
def test_a_lock_on_a_file_that_was_removed_counts_for_nothing(tmp_path: Path, *, successor: bool) -> None:
    """Its holder removed it while we waited; others would take the lock on the file that has the name now."""
    path = tmp_path / "lock"
    with path.open("w") as waited_for:
        assert _flock.is_locked_by_us(waited_for.fileno())
        assert _flock.is_named(waited_for.fileno(), path)
        path.unlink()
        if successor:
            path.touch()
        assert not _flock.is_named(waited_for.fileno(), path)


def test_whoever_waited_for_a_lock_that_was_removed_takes_the_new_one(
    tmp_path: Path, other_holder: tuple[Any, Callable[[], None]]
) -> None:
    _, let_go = other_holder
    waits: list[str] = []

    def on_wait(line: str) -> None:
        waits.append(line)
        let_go()

    path = tmp_path / "lock"
    with hold(path, "the test", timeout_seconds=20, on_wait=on_wait):
        assert str(os.getpid()) in path.read_text()
    assert len(waits) == 1
