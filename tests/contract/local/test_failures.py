"""What this computer does not give or let go, as its kernel and its programs say it; no machine is started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.providers.local import image, machines, power, prepare
from productive_k3s_infra.providers.local.cgroup import Cgroups, detect, group_name
from productive_k3s_infra.providers.local.model import MachineRecord, MachineRequest
from productive_k3s_infra.providers.local.store import MachineFolder, SetFolder

pytestmark = [pytest.mark.contract, pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")]

_ROOT = Path(__file__).resolve().parents[3]
_SECONDS = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> MachineFolder:
    made = MachineFolder(tmp_path / "machines" / "one" / "a")
    for path in (made.data, made.root):
        path.mkdir(parents=True)
    return made


def machine(image_path: Path) -> MachineRecord:
    return MachineRecord(MachineRequest("a"), 2, "0" * 32, str(image_path))


def run(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=_SECONDS).stdout.strip()


def test_a_computer_without_control_groups() -> None:
    """A container that was given none, for example."""
    look = (
        "from productive_k3s_infra.errors import ProviderFailed\n"
        "from productive_k3s_infra.providers.local.cgroup import detect\n"
        "try:\n    print(detect())\nexcept ProviderFailed as error:\n    print(error.code, '|', error.remedy)\n"
    )
    inside = 'umount --recursive --lazy /sys/fs/cgroup && exec "$@"'
    done = subprocess.run(
        ("unshare", "--mount", "sh", "-c", inside, "sh", sys.executable, "-c", look),
        env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    assert done.stdout.startswith("local.no-cgroups | use a computer"), done.stdout


def test_an_image_whose_packages_cannot_be_fetched(tmp_path: Path) -> None:
    """Nothing of the attempt is taken for an image."""
    with pytest.raises(ProviderFailed) as caught:
        image.ensure_image(cache=tmp_path, mirror="http://127.0.0.1:9/debian")
    assert caught.value.code == "local.image"
    assert "mmdebstrap" in caught.value.evidence
    assert "apt-get update" in caught.value.remedy
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_file_system_without_its_image(folder: MachineFolder, tmp_path: Path) -> None:
    with pytest.raises(ProviderFailed) as caught:
        prepare.ensure_mounted(machine(tmp_path / "no-image"), folder)
    assert caught.value.code == "local.mount"
    assert caught.value.where == "machine a"
    assert str(tmp_path / "no-image") in caught.value.remedy
    assert not folder.root.is_mount()


def test_a_file_system_that_is_in_use(folder: MachineFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody looks into the machine's files; once they have gone, it goes."""
    monkeypatch.setattr(prepare, "_BUSY_SECONDS", 0.2)
    run("mount", "-t", "tmpfs", "tmpfs", folder.root)
    try:
        with (folder.root / "file").open("w"), pytest.raises(ProviderFailed) as caught:
            prepare.unmount(folder)
        assert folder.root.is_mount()
        prepare.unmount(folder)
        assert not folder.root.is_mount()
    finally:
        subprocess.run(("umount", folder.root), check=False, capture_output=True)
    assert caught.value.code == "local.mount-busy"
    assert caught.value.where == str(folder.root)
    assert "busy" in caught.value.evidence


def test_a_process_that_cannot_be_ended(folder: MachineFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes to a file system that is frozen, and no signal ends it before that has thawed."""
    monkeypatch.setattr(power, "_KILL_SECONDS", 0.5)
    cgroups, group = detect(), group_name(folder.path.parent, "a")
    with frozen(folder.path.parent) as frozen_folder:
        command = ("sh", "-c", f"echo text >{frozen_folder}/file")
        cgroups.start(group, command, folder.log)
        waiting = waits_for_the_disk(cgroups, group, command)
        with pytest.raises(ProviderFailed) as caught:
            power.kill(cgroups, group)
        assert cgroups.processes(group) == (waiting,)
    monkeypatch.setattr(power, "_KILL_SECONDS", _SECONDS)
    power.kill(cgroups, group)
    assert not cgroups.processes(group)
    cgroups.remove(group_name(folder.path.parent))
    assert (caught.value.code, caught.value.where) == ("local.stop", group)
    assert str(waiting) in caught.value.evidence


def test_a_set_of_which_something_stays(folder: MachineFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that somebody attached holds its loop device; what stays is named, and the next time it is gone."""
    monkeypatch.setattr(power, "STOP_SECONDS", 0.5)
    folder.disk.write_bytes(bytes(1 << 20))
    device = run("losetup", "--find", "--show", folder.disk)
    sets = SetFolder(folder.path.parents[1], "one")
    try:
        with pytest.raises(ProviderFailed) as caught:
            machines.destroy("one", root=sets.root)
    finally:
        run("losetup", "--detach", device)
    assert (caught.value.code, caught.value.where) == ("local.leftovers", "set one")
    assert caught.value.evidence == f"loop device {device}"
    monkeypatch.setattr(power, "STOP_SECONDS", _SECONDS)
    machines.destroy("one", root=sets.root)


@contextmanager
def frozen(folder: Path) -> Iterator[Path]:
    """A small file system that takes no writes inside the block."""
    disk, place = folder / "small.img", folder / "small"
    place.mkdir()
    disk.write_bytes(bytes(8 << 20))
    run("mkfs.ext4", "-q", disk)
    run("mount", "-o", "loop", disk, place)
    try:
        run("fsfreeze", "--freeze", place)
        try:
            yield place
        finally:
            run("fsfreeze", "--unfreeze", place)
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Unmount what a process that is ending may still hold for a moment."""
    deadline = time.monotonic() + _SECONDS
    while subprocess.run(("umount", place), check=False, capture_output=True).returncode != 0:
        assert time.monotonic() < deadline, place
        time.sleep(0.05)


def waits_for_the_disk(cgroups: Cgroups, group: str, command: tuple[str, ...]) -> int:
    """Return the process of the command as soon as it sleeps where no signal reaches it."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        for pid in cgroups.processes(group):
            process = Path(f"/proc/{pid}")
            words = (process / "cmdline").read_text().split("\0")
            if tuple(words[:-1]) == command and (process / "stat").read_text().rpartition(")")[2].split()[0] == "D":
                return pid
        time.sleep(0.02)
    raise AssertionError("nothing waits")
