"""Real machines on this computer: made, used, stopped, cut off half-way, destroyed; then nothing of them is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from productive_k3s_infra.errors import BadInput, Pk3sError, ProviderFailed, Refused
from productive_k3s_infra.providers.local import image, leftovers, network, power, sysctl
from productive_k3s_infra.providers.local.cgroup import detect, group_name
from productive_k3s_infra.providers.local.machines import (
    Machine,
    MachineRequest,
    create,
    destroy,
    gateway_address,
    power_off,
    start,
    stop,
    survey,
)
from productive_k3s_infra.providers.local.store import MachineFolder, SetFolder, load_record

pytestmark = pytest.mark.live


class Bed:
    """A root of its own, an operator's key, and the sets that were made in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "machines"
        self.key = folder / "key"
        self.known = folder / "known_hosts"
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key), check=True)
        self.public = (folder / "key.pub").read_text()

    def create(self, name: str, *requests: MachineRequest) -> tuple[Machine, ...]:
        return create(name, requests, self.public, root=self.root)

    def ssh(self, machine: Machine, command: str, user: str = "root") -> str:
        """Run a command over SSH; the one host key that is accepted is the one the provider reported."""
        done = self.try_ssh(machine, command, user)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def try_ssh(self, machine: Machine, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        self.known.write_text(f"[{machine.address}]:{machine.ssh_port} {machine.host_key}\n")
        if machine.ssh_port == 22:
            self.known.write_text(f"{machine.address} {machine.host_key}\n")
        options = {
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.known,
            "GlobalKnownHostsFile": "/dev/null",
        }
        options |= {"BatchMode": "yes", "ConnectTimeout": 10, "IdentitiesOnly": "yes"}
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        to = ("-F", "none", "-i", self.key, "-p", str(machine.ssh_port), f"{user}@{machine.address}")
        return subprocess.run(
            ("ssh", *words, *to, command), check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Whatever a test does, its machines go with it, and what is left of them fails it."""
    image.ensure_image()
    made = Bed(tmp_path)
    yield made
    names = [path.name for path in made.root.iterdir() if path.is_dir()] if made.root.exists() else []
    for name in names:
        destroy(name, root=made.root)
    assert [leftovers.leftovers(name, root=made.root) for name in names] == [()] * len(names)


def boot_time(bed: Bed, machine: Machine) -> str:
    return bed.ssh(machine, "stat -c %Z /proc/1 && cut -d' ' -f22 /proc/1/stat")


def test_machines_are_what_was_asked_for(bed: Bed) -> None:
    began = time.monotonic()
    made = bed.create("one", MachineRequest("server-1"), MachineRequest("agent-1"), MachineRequest("agent-2"))
    seconds = time.monotonic() - began
    assert seconds < 20, f"three machines took {seconds:.1f} s"  # measured: 2.4 s on two cores
    assert [machine.name for machine in made] == ["server-1", "agent-1", "agent-2"]
    assert {machine.state for machine in made} == {"running"}
    seen = [bed.ssh(machine, "hostname; cat /etc/machine-id; ip -4 -br addr show host0") for machine in made]
    for machine, text in zip(made, seen, strict=True):
        assert text.startswith(machine.name + "\n")
        assert machine.address in text
    machine_ids = {text.splitlines()[1] for text in seen}
    assert len(machine_ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in machine_ids)
    assert len({machine.host_key for machine in made}) == 3
    server = made[0]
    assert bed.ssh(server, "getent ahostsv4 agent-2 | head -n1 | cut -d' ' -f1") == made[2].address
    assert bed.ssh(server, f"exec 3<>/dev/tcp/{made[1].address}/22 && head -c4 <&3") == "SSH-"
    assert (
        bed.ssh(server, f"exec 3<>/dev/tcp/{gateway_address('one', root=bed.root)}/1 2>/dev/null; echo asked")
        == "asked"
    )
    assert bed.ssh(server, "systemctl is-system-running --wait") == "running"
    # CAP_SYS_TIME is bit 25. Asking the clock itself would set this computer's own when the machine may.
    assert not int(bed.ssh(server, "sed -n 's/^CapBnd:\\t//p' /proc/1/status"), 16) >> 25 & 1
    assert "EXISTS" not in bed.ssh(server, "command -v containerd runc; test -e /etc/resolv.conf && echo EXISTS; true")


def test_a_kubelet_finds_what_it_needs(bed: Bed) -> None:
    """Writable control groups of the machine's own, writable kernel settings, shared mounts, a real file system."""
    (machine,) = bed.create("one", MachineRequest("a"))
    groups = "/sys/fs/cgroup/pids" if Path("/sys/fs/cgroup/pids").is_dir() else "/sys/fs/cgroup"
    bed.ssh(machine, f"mkdir {groups}/kubepods")
    bed.ssh(machine, "sysctl -w net.ipv4.ip_forward=1 && test $(cat /proc/sys/net/ipv4/ip_forward) = 1")
    assert bed.ssh(machine, "findmnt -no PROPAGATION /") == "shared"
    assert bed.ssh(machine, "findmnt -no FSTYPE -T /var/lib/rancher") != "overlay"
    bed.ssh(machine, "iptables -t nat -A PREROUTING -m comment --comment x -j ACCEPT && ipset create x hash:ip")
    assert int(bed.ssh(machine, "cat /proc/sys/fs/inotify/max_user_instances")) >= 8192


def test_creating_again_changes_nothing_and_adds_what_is_new(bed: Bed) -> None:
    first = bed.create("one", MachineRequest("a"))
    before = boot_time(bed, first[0])
    again = bed.create("one", MachineRequest("a"), MachineRequest("b"))
    assert again[0] == first[0]
    assert boot_time(bed, again[0]) == before
    assert bed.ssh(again[0], "getent ahostsv4 b | head -n1 | cut -d' ' -f1") == again[1].address
    with pytest.raises(Refused):
        bed.create("one", MachineRequest("a", ssh_port=2222))
    destroy("one", ["b", "no-such-machine"], root=bed.root)
    assert survey("one", root=bed.root) == first
    assert bed.try_ssh(first[0], "getent hosts b").returncode != 0


def test_two_sets_live_side_by_side(bed: Bed) -> None:
    left, right = bed.create("left", MachineRequest("a")), bed.create("right", MachineRequest("a"))
    assert left[0].address.rpartition(".")[0] != right[0].address.rpartition(".")[0]
    assert left[0].bridge != right[0].bridge
    before = boot_time(bed, right[0])
    destroy("left", root=bed.root)
    assert leftovers.leftovers("left", root=bed.root) == ()
    assert left[0].bridge not in {link.name for link in network.links()}
    assert survey("left", root=bed.root) == ()
    assert boot_time(bed, right[0]) == before
    assert bed.ssh(right[0], "cat /proc/sys/fs/inotify/max_user_instances") == "8192", "raised for the one that is left"


def test_settings_that_a_kubelet_changed_are_put_back_after_the_last_set(bed: Bed) -> None:
    others = network.any_bridge_left()
    saved = (sysctl.RUN / "sysctls.json").read_text() if others else None
    before = {name: Path("/proc/sys", name).read_text() for name in ("vm/overcommit_memory", "kernel/panic")}
    (machine,) = bed.create("one", MachineRequest("a"))
    changed = "1" if before["vm/overcommit_memory"].strip() == "0" else "0"
    bed.ssh(machine, f"echo {changed} > /proc/sys/vm/overcommit_memory")
    assert Path("/proc/sys/vm/overcommit_memory").read_text().strip() == changed
    destroy("one", root=bed.root)
    if network.any_bridge_left():
        # Somebody else's machines still need the raised settings: what was remembered must be left for the last one.
        Path("/proc/sys/vm/overcommit_memory").write_text(before["vm/overcommit_memory"])
        assert (sysctl.RUN / "sysctls.json").exists()
        assert saved in (None, (sysctl.RUN / "sysctls.json").read_text())
    else:
        assert {name: Path("/proc/sys", name).read_text() for name in before} == before
        assert not sysctl.RUN.exists()


@pytest.mark.parametrize("switch_off", [stop, power_off])
def test_a_stopped_machine_keeps_its_disk_and_identity(bed: Bed, switch_off: type[stop]) -> None:
    (machine,) = bed.create("one", MachineRequest("a"))
    identity = bed.ssh(machine, "echo kept > /root/x; echo kept > /var/lib/rancher/x; sync; cat /etc/machine-id")
    boot = boot_time(bed, machine)
    switch_off("one", ["a"], root=bed.root)
    (stopped,) = survey("one", root=bed.root)
    assert stopped.state == "stopped"
    assert leftovers.mounts_below(bed.root) == ()
    assert detect().processes(group_name(bed.root / "one")) == ()
    (started,) = start("one", root=bed.root)
    assert started == machine
    assert bed.ssh(machine, "cat /root/x /var/lib/rancher/x /etc/machine-id") == f"kept\nkept\n{identity}"
    assert boot_time(bed, machine) != boot


def test_a_stop_lets_services_end_and_a_power_cut_does_not(bed: Bed) -> None:
    (machine,) = bed.create("one", MachineRequest("a"))
    unit = '[Service]\\nExecStart=/bin/sleep infinity\\nExecStop=/bin/sh -c "echo ended > /var/lib/rancher/ended; sync"'
    begin = f"rm -f /var/lib/rancher/ended; printf '{unit}' > /etc/systemd/system/x.service; systemctl start x; sync"
    bed.ssh(machine, begin)
    power_off("one", root=bed.root)
    start("one", root=bed.root)
    assert bed.try_ssh(machine, "cat /var/lib/rancher/ended").returncode != 0
    bed.ssh(machine, begin)
    stop("one", root=bed.root)
    start("one", root=bed.root)
    assert bed.ssh(machine, "cat /var/lib/rancher/ended") == "ended"


def test_a_machine_that_does_not_stop_loses_its_power(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine,) = bed.create("one", MachineRequest("a"))
    unit = "[Service]\\nExecStart=/bin/sleep infinity\\nExecStop=/bin/sleep 600\\nTimeoutStopSec=600"
    bed.ssh(machine, f"printf '{unit}' > /etc/systemd/system/x.service; systemctl start x")
    monkeypatch.setattr(power, "STOP_SECONDS", 1)
    began = time.monotonic()
    stop("one", root=bed.root)
    assert time.monotonic() - began < 20
    assert [machine.state for machine in survey("one", root=bed.root)] == ["stopped"]


def test_a_machine_can_reboot_itself(bed: Bed) -> None:
    (machine,) = bed.create("one", MachineRequest("a"))
    before = boot_time(bed, machine)
    bed.try_ssh(machine, "systemctl reboot")
    deadline = time.monotonic() + 60
    while (now := bed.try_ssh(machine, "cut -d' ' -f22 /proc/1/stat")).returncode != 0 or now.stdout in before:
        assert time.monotonic() < deadline, f"it did not come back: {now.stderr}"
    assert [one.state for one in survey("one", root=bed.root)] == ["running"]


def test_a_full_disk_fills_one_machine_only(bed: Bed) -> None:
    (small,) = bed.create("one", MachineRequest("small", disk_bytes=64 << 20))
    (other,) = bed.create("one", MachineRequest("other"))
    full = bed.try_ssh(small, "dd if=/dev/zero of=/usr/local/x bs=1M count=200")
    assert "No space left on device" in full.stderr
    assert "No space" in bed.try_ssh(small, "head -c 1000000 /dev/zero > /var/lib/rancher/x").stderr
    bed.ssh(other, "dd if=/dev/zero of=/usr/local/x bs=1M count=200")
    # A machine that was started later must not keep the disk of an earlier one in use.
    stop("one", ["small"], root=bed.root)
    assert power.wait_until(lambda: not loop_devices(bed), 10), loop_devices(bed)
    start("one", ["small"], root=bed.root)
    bed.ssh(small, "rm /usr/local/x && sync && echo again > /usr/local/y")
    destroy("one", ["small"], root=bed.root)
    assert power.wait_until(lambda: not loop_devices(bed), 10), loop_devices(bed)


def loop_devices(bed: Bed) -> list[str]:
    listed = subprocess.run(("losetup", "--list", "-n", "-O", "BACK-FILE"), check=True, capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if line.startswith(str(bed.root))]


def test_a_read_only_machine_is_read_only_once_it_answers(bed: Bed) -> None:
    (machine,) = bed.create("one", MachineRequest("a", read_only=True))
    for place in ("/etc", "/usr/local/bin", "/var/lib/rancher", "/root"):
        assert "Read-only file system" in bed.try_ssh(machine, f"touch {place}/x").stderr
    bed.ssh(machine, "touch /run/x")


def test_an_extra_user_may_do_what_sudoers_says_on_the_port_that_was_asked(bed: Bed) -> None:
    allowed = "ALL=(root) NOPASSWD: /usr/bin/id"
    (machine,) = bed.create("one", MachineRequest("a", ssh_port=2222, extra_user="ops", sudoers=allowed))
    assert machine.ssh_port == 2222
    assert bed.ssh(machine, "sudo -n id -u", user="ops") == "0"
    assert bed.try_ssh(machine, "sudo -n cat /etc/shadow", user="ops").returncode != 0
    assert bed.ssh(machine, "stat -c '%U %a' ~/.ssh/authorized_keys", user="ops") == "ops 600"


def test_a_machine_that_cannot_start_is_diagnosed_and_can_be_destroyed(bed: Bed, tmp_path: Path) -> None:
    broken = tmp_path / "image"
    for place in ("etc/ssh", "root", "usr", "var", "sbin"):
        (broken / place).mkdir(parents=True)
    (broken / "sbin/init").write_text("#!/no/such/interpreter\n")
    (broken / "sbin/init").chmod(0o755)
    (broken / "etc/os-release").write_text("ID=none\n")
    began = time.monotonic()
    with pytest.raises(ProviderFailed) as caught:
        create("one", [MachineRequest("a")], bed.public, root=bed.root, image=broken)
    assert time.monotonic() - began < 30
    assert caught.value.code == "local.start"
    assert caught.value.where == "machine a"
    assert caught.value.evidence != "it printed nothing"
    assert [machine.state for machine in survey("one", root=bed.root)] == ["stopped"]


def test_a_machine_that_answers_nothing_says_why(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine,) = bed.create("one", MachineRequest("a"))
    bed.ssh(machine, "systemctl disable ssh; sync")
    stop("one", root=bed.root)
    monkeypatch.setattr(power, "START_SECONDS", 5)
    with pytest.raises(ProviderFailed) as caught:
        start("one", root=bed.root)
    assert f"{machine.address}:22" in caught.value.what
    assert len(caught.value.evidence) > 40, "the end of the machine's journal"


def test_names_that_do_not_exist_are_bad_input(bed: Bed) -> None:
    with pytest.raises(BadInput):
        stop("no-such-set", root=bed.root)
    bed.create("one", MachineRequest("a"))
    with pytest.raises(BadInput, match="no machine b"):
        stop("one", ["b"], root=bed.root)
    destroy("no-such-set", root=bed.root)


# Cut off half-way. A child process does the work and kills itself with SIGKILL at its n-th contact with the outside.

_CUT = textwrap.dedent("""
    import itertools, os, signal, sys
    from pathlib import Path
    from productive_k3s_infra import _process
    from productive_k3s_infra.providers.local import ground, machines, power, prepare, store

    verb, root, key, cut_at = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    count = itertools.count(1)

    def cutting(function):
        def wrapped(*args, **kwargs):
            if next(count) == cut_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapped

    _process.run = cutting(_process.run)
    _process.start_detached = cutting(_process.start_detached)
    for module, name in ((store, "write_atomically"), (prepare, "write_atomically"), (machines, "save_record"),
                         (ground, "save_record"),
                         (prepare, "_write"), (power, "_signal"), (prepare, "remove_files"), (os, "rmdir")):
        setattr(module, name, cutting(getattr(module, name)))
    requests = [machines.MachineRequest("a"), machines.MachineRequest("b", disk_bytes=64 << 20)]
    if verb == "create":
        machines.create("cut", requests, key, root=root)
    else:
        machines.destroy("cut", root=root)
    print(next(count) - 1)
""")


def test_what_is_put_there_before_a_start_is_there(bed: Bed) -> None:
    started: list[str] = []

    def put(folder: MachineFolder) -> None:
        started.append(folder.path.name)
        (folder.rancher / "told").write_text("early\n")

    def make() -> Machine:
        (made,) = create("early", [MachineRequest("a")], bed.public, root=bed.root, before_start=put)
        return made

    assert bed.ssh(make(), "cat /var/lib/rancher/told") == "early"
    make()
    assert started == ["a"], "one that runs is not started"
    stop("early", root=bed.root)
    make()
    assert started == ["a", "a"]


def cut(bed: Bed, verb: str, at: int) -> int | None:
    """Do the work in a process that is killed at its n-th contact; return how many it made if it came to its end."""
    words = (sys.executable, "-c", _CUT, verb, str(bed.root), bed.public, str(at))
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def points(total: int, wanted: int) -> list[int]:
    return sorted({1 + (total - 1) * number // (wanted - 1) for number in range(wanted)})


def sweep_creation(bed: Bed, wanted: int) -> None:
    total = cut(bed, "create", 0)
    assert total is not None
    destroy("cut", root=bed.root)
    cuts = 0
    for at in points(total, wanted):
        cuts += cut(bed, "create", at) is None
        if at % 2:
            made = bed.create("cut", MachineRequest("a"), MachineRequest("b", disk_bytes=64 << 20))
            assert [bed.ssh(machine, "hostname") for machine in made] == ["a", "b"], f"cut at {at}"
        destroy("cut", root=bed.root)
        assert leftovers.leftovers("cut", root=bed.root) == (), f"cut at {at}"
    assert cuts > len(points(total, wanted)) // 2


def sweep_destruction(bed: Bed, wanted: int) -> None:
    requests = (MachineRequest("a"), MachineRequest("b", disk_bytes=64 << 20))
    bed.create("cut", *requests)
    total = cut(bed, "destroy", 0)
    assert total is not None
    cuts = 0
    for at in points(total, wanted):
        bed.create("cut", *requests)
        cuts += cut(bed, "destroy", at) is None
        if at % 2:
            made = bed.create("cut", *requests)
            assert [bed.ssh(machine, "hostname") for machine in made] == ["a", "b"], f"cut at {at}"
        destroy("cut", root=bed.root)
        assert leftovers.leftovers("cut", root=bed.root) == (), f"cut at {at}"
    assert cuts > len(points(total, wanted)) // 2


def test_a_creation_that_was_killed_is_finished_or_removed_by_the_next(bed: Bed) -> None:
    sweep_creation(bed, 6)


def test_a_destruction_that_was_killed_is_finished_by_the_next(bed: Bed) -> None:
    sweep_destruction(bed, 5)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_creation_and_destruction_survive_a_kill_at_every_point(bed: Bed) -> None:
    sweep_creation(bed, 1000)
    sweep_destruction(bed, 1000)


def test_a_killed_image_build_leaves_nothing_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for mmdebstrap that is slow the first time, mounts something, and starts a process."""
    programs, cache = tmp_path / "bin", tmp_path / "cache"
    programs.mkdir()
    stand_in = programs / "mmdebstrap"
    stand_in.write_text(
        f"""#!/bin/bash
        target="${{@: -1}}"; mkdir -p "$target/mnt"
        [ -e "{tmp_path}/second" ] && exit 0
        mount -t tmpfs tmpfs "$target/mnt"; echo mounted; sleep 300 & wait
        """
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    work = f"""
from productive_k3s_infra.providers.local import image; from pathlib import Path
image.ensure_image(cache=Path({str(cache)!r}), on_progress=lambda line: print(line, flush=True))
"""
    with subprocess.Popen((sys.executable, "-c", work), stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert any(line == "mounted\n" for line in builder.stdout)
        assert processes_that_mention(str(cache)), "the look must be able to find one"
        builder.kill()
    deadline = time.monotonic() + 10
    while left := processes_that_mention(str(cache)):
        assert time.monotonic() < deadline, left
    assert leftovers.mounts_below(tmp_path) == ()
    (tmp_path / "second").touch()
    unit = ("etc/systemd/system/x.service", 0o644, "[Install]\nWantedBy=multi-user.target\n")
    built = image.ensure_image(cache=cache, recipe=image.Recipe(files=(unit,), enabled=("x.service",)))
    assert [path for path in cache.iterdir() if path.is_dir()] == [built]
    assert not list((built / "mnt").iterdir())


def processes_that_mention(text: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in words and int(process.name) != os.getpid():
            found.append(words.replace("\0", " "))
    return found


_BEHIND_A_FIREWALL = textwrap.dedent("""
    import os, shutil, subprocess, sys
    from pathlib import Path
    from productive_k3s_infra.providers.local import machines

    root, key, private = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    subprocess.run(("iptables", "-P", "FORWARD", "DROP"), check=True)
    made = machines.create("one", [machines.MachineRequest("a"), machines.MachineRequest("b")], key, root=root)
    assert any(line.startswith("firewall rule") for line in machines.leftovers("one", root=root))
    ask = f"exec 3<>/dev/tcp/{made[1].address}/22 && head -c4 <&3"
    ssh = ("ssh", "-F", "none", "-i", private, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    print(subprocess.run((*ssh, f"root@{made[0].address}", f"timeout 5 bash -c '{ask}'"),
          capture_output=True, text=True).stdout)
    machines.destroy("one", root=root)
    print(subprocess.run(("iptables", "-S", "FORWARD"), capture_output=True, text=True, check=True).stdout)
""")


def test_machines_reach_each_other_behind_a_firewall_that_drops_what_is_forwarded(bed: Bed) -> None:
    """In a network namespace of its own, so that no other machine is cut off; iptables is the image's."""
    programs = bed.root.parent / "bin"
    programs.mkdir()
    iptables = programs / "iptables"
    iptables.write_text(f'#!/bin/sh\nexec chroot {image.ensure_image()} /usr/sbin/iptables "$@"\n')
    iptables.chmod(0o755)
    done = subprocess.run(
        ("unshare", "--net", sys.executable, "-c", _BEHIND_A_FIREWALL, bed.root, bed.public, bed.key),
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["SSH-", "-P", "FORWARD", "DROP"]


def test_leftovers_are_found_one_by_one(bed: Bed) -> None:
    """The look that the other tests trust must see each kind of thing."""
    bed.create("one", MachineRequest("a", disk_bytes=64 << 20))
    kinds = {line.rpartition(" ")[0] for line in leftovers.leftovers("one", root=bed.root)}
    assert kinds == {"process", "mount", "loop device", "interface", "control group", "folder"}
    record = load_record(SetFolder(bed.root, "one"))
    assert record is not None
    # An interface that was cut off before it got its mark is the set's all the same.
    subprocess.run(("ip", "link", "set", "dev", record.bridge, "alias", ""), check=True)
    destroy("one", root=bed.root)
    assert record.bridge not in {link.name for link in network.links()}


def test_an_error_never_leaves_the_lock_behind(bed: Bed) -> None:
    with pytest.raises(Pk3sError):
        stop("one", root=bed.root)
    assert not list(bed.root.glob(".*.lock")) if bed.root.exists() else True
