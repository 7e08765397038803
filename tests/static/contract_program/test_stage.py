"""`stage`: several files on one standard input, each verified before it gets its name."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.events import Result
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.k3s import paths
from productive_k3s.verbs.run import run
from static.contract_program.simulated import Machine

FILES = {"k3s": b"the binary", "images.tar": b"images that are longer", "more.tar": b"more"}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def place(name: str) -> str:
    return paths.staged(digest(FILES[name]), name)


def words(files: Mapping[str, bytes] = FILES) -> list[str]:
    return [word for name, data in files.items() for word in ("--file", f"{digest(data)}:{len(data)}:{name}")]


def stage(machine: Machine, given: bytes, *arguments: str, stop: str = "") -> Result:
    machine.system.standard_input = given
    host = machine.host()
    stopping = Host(host.system, host.kube, host.emit, lambda: stop)
    return run_to_end(run(stopping, parser().parse_args(["stage", *(arguments or words())])))


def staged(machine: Machine) -> dict[str, bytes]:
    """Files below the program's directory, by path."""
    found = (path for path in machine.system.snapshot() if path.startswith(f"{paths.PROGRAM_DIRECTORY}/"))
    return {path: data for path in found if (data := run_to_end(_read(machine, path))) is not None}


async def _read(machine: Machine, path: str) -> bytes | None:
    try:
        return await machine.system.read(path)
    except IsADirectoryError:
        return None


def empty_folders(machine: Machine) -> list[str]:
    below = [path for path in machine.system.snapshot() if path.startswith(paths.PROGRAM_DIRECTORY)]
    return [
        path for path in below if path not in staged(machine) and not run_to_end(machine.system.list_directory(path))
    ]


def test_all_files_come_in_one_run() -> None:
    machine = Machine()
    locks: list[str] = []
    take = machine.system.lock

    async def lock(path: str, wait: float) -> str | None:
        locks.append(path)
        return await take(path, wait)

    machine.system.lock = lock  # type: ignore[method-assign]
    result = stage(machine, b"".join(FILES.values()))
    assert (result.outcome, locks) == ("done", [paths.LOCK])
    assert result.data == {place(name): len(content) for name, content in FILES.items()}
    assert staged(machine) == {place(name): content for name, content in FILES.items()}


@pytest.mark.parametrize("there", [("k3s",), ("images.tar",), ("more.tar",), ("k3s", "images.tar")])
def test_what_is_here_already_is_passed_over(there: tuple[str, ...]) -> None:
    machine = Machine()
    machine.system.put({place(name): FILES[name] for name in there}, changed=5.0)
    result = stage(machine, b"".join(FILES.values()))
    assert result.outcome == "done", result.failures
    assert [path for path, written in (result.data or {}).items() if not written] == [place(name) for name in there]
    assert staged(machine) == {place(name): content for name, content in FILES.items()}
    assert all(machine.system.snapshot()[place(name)].changed == 5.0 for name in there), "not written again"


def test_where_all_is_here_nothing_is_read() -> None:
    machine = Machine()
    machine.system.put({place(name): content for name, content in FILES.items()})
    assert stage(machine, b"unread").outcome == "unchanged"
    assert machine.system.standard_input == b"unread"


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (FILES["k3s"] + b"images THAT are longer" + FILES["more.tar"], "22 bytes arrived: "),
        (FILES["k3s"] + FILES["images.tar"][:-1], "21 of 22 bytes arrived: "),
        (FILES["k3s"], "0 of 22 bytes arrived: "),
    ],
    ids=["wrong", "short", "ended"],
)
def test_a_failure_leaves_the_files_before_it_and_nothing_of_its_own(given: bytes, seen: str) -> None:
    machine = Machine()
    result = stage(machine, given)
    assert (result.outcome, [item.code for item in result.failures]) == ("failed", ["artifact.checksum"])
    assert f"{place('images.tar')}: {seen}" in result.failures[0].evidence
    assert staged(machine) == {place("k3s"): FILES["k3s"]}
    assert empty_folders(machine) == []
    assert stage(machine, b"".join(FILES.values())).outcome == "done"


def test_a_disk_that_fills_up_leaves_the_files_before_it() -> None:
    machine = Machine()

    def before(operation: str, path: str) -> None:
        if (operation, path) == ("write", place("images.tar")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    machine.system.before = before
    result = stage(machine, b"".join(FILES.values()))
    assert (result.outcome, [item.code for item in result.failures]) == ("failed", ["host.disk-full"])
    assert staged(machine) == {place("k3s"): FILES["k3s"]}
    assert empty_folders(machine) == []


def test_a_first_file_that_is_wrong_leaves_no_folder() -> None:
    machine = Machine()
    before = machine.system.snapshot()
    assert stage(machine, b"something else altogether").outcome == "failed"
    assert [path for path in machine.system.snapshot() if path.startswith(paths.PROGRAM_DIRECTORY)] == []
    assert set(before) <= set(machine.system.snapshot())


def test_a_run_that_shall_stop_begins_no_file() -> None:
    machine = Machine()
    result = stage(machine, b"".join(FILES.values()), stop="SIGTERM")
    assert (result.outcome, staged(machine)) == ("interrupted", {})


@pytest.mark.parametrize("content", [b"of no known length", b""])
def test_one_file_by_hand_is_all_that_comes(content: bytes) -> None:
    machine = Machine()
    typed = ("--sha256", digest(content), "--to", "k3s")
    assert stage(machine, content, *typed).data == {paths.staged(digest(content), "k3s"): len(content)}
    assert stage(machine, content, *typed).outcome == "unchanged"
    assert stage(Machine(), content + b"!", *typed).failures[0].code == "artifact.checksum"


@pytest.mark.parametrize("again", [False, True])
def test_a_file_of_no_bytes_is_a_file(again: bool) -> None:
    machine = Machine()
    if again:
        stage(machine, b"", *words({"empty": b""}))
    assert stage(machine, b"", *words({"empty": b""})).outcome == ("unchanged" if again else "done")


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        (("--to", "k3s"), "request.flag"),
        (("--sha256", "1" * 64), "request.flag"),
        (("--sha256", "1" * 64, "--to", "k3s", "--file", f"{'1' * 64}:1:k3s"), "request.flag"),
        (("--json",), "request.flag"),
        (("--file", f"{'1' * 64}:k3s"), "request.flag"),
        (("--file", f"{'1' * 64}:-1:k3s"), "request.flag"),
        (("--file", f"{'1' * 64}:1:"), "request.artifact"),
        (("--file", f"{'1' * 64}:1:../k3s"), "request.artifact"),
        (("--file", f"{'1' * 64}:1:.k3s"), "request.artifact"),
        (("--file", f"{'A' * 64}:1:k3s"), "request.artifact"),
        (("--sha256", "../../x", "--to", "k3s"), "request.artifact"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(typed: tuple[str, ...], code: str) -> None:
    machine = Machine()
    result = (
        stage(machine, b"x", *words({"good": b"x"}), *typed) if typed[0] == "--file" else stage(machine, b"x", *typed)
    )
    assert [(item.code, item.exit_code) for item in result.failures] == [(code, 2)]
    assert (machine.system.standard_input, staged(machine)) == (b"x", {})
