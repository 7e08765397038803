"""Effects on a simulated host: an artefact that gets its name, and what systemd is asked for a start.

What a kill between two effects leaves is tried by raising before the n-th one.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
from dataclasses import replace

import pytest

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Artifact
from productive_k3s.doors.host import ReadingHost, run_to_end
from productive_k3s.doors.system import Completed, HttpResponse
from productive_k3s.effects.sequence import make_changes
from productive_k3s.effects.task import Task
from productive_k3s.facts.gather import gather
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import assess
from productive_k3s.verbs import install
from productive_k3s_infra.rehearse.system import Command
from static.contract_program.hosts import VERSION, server
from static.contract_program.simulated import LiveMachine, Machine
from static.contract_program.systemd import Systemd, do, task

BINARY = b"the new k3s"
IMAGES = b"images"
K3S = Artifact("k3s", hashlib.sha256(BINARY).hexdigest())
TAR = Artifact("k3s-airgap-images-arm64.tar", hashlib.sha256(IMAGES).hexdigest())
STAGED = paths.staged(K3S.sha256, K3S.name)
STAGED_IMAGES = paths.staged(TAR.sha256, TAR.name)
RELEASE = {"binary": K3S, "images": (TAR,)}
BINARY_CHANGE, IMAGES_CHANGE = "binary", f"image:{TAR.name}"


class Killed(Exception):
    """The process ends here."""


KUBE_LABEL = "system_u:object_r:container_runtime_exec_t:s0"
LIB_LABEL = "system_u:object_r:lib_t:s0"


class Stager:
    """A machine with staged files, and how often one of them was copied."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.copied: list[str] = []
        machine.system.before = self._before

    def _before(self, operation: str, path: str) -> None:
        if operation == "copy":
            self.copied.append(path)

    def enforce(self, mode: str) -> None:
        """Switch SELinux on, with its policy for the binary."""
        self.machine.system.put({"/sys/fs/selinux/enforce": mode})
        self.machine.system.script("matchpathcon", stdout="<<none>>\n")
        self.machine.system.script("matchpathcon", "-n", "-m", "file", paths.BINARY, stdout=f"{KUBE_LABEL}\n")


@pytest.fixture
def shell() -> Stager:
    machine = Machine()
    machine.system.put({STAGED: BINARY, STAGED_IMAGES: IMAGES})
    machine.system.script(paths.BINARY, "--version", stdout=f"k3s version {VERSION} (e060c0b1)\n")
    return Stager(machine)


def failure(work: Task, name: str) -> Failure:
    with pytest.raises(ContractError) as caught:
        do(work, name)
    return caught.value.failure


def left_of(machine: Machine) -> list[str]:
    return [path for path in machine.system.snapshot() if path.startswith(f"{paths.STAGED}/")]


class TestStaged:
    def test_it_is_moved_into_place_and_not_copied(self, shell: Stager) -> None:
        do(task(shell.machine, server(**RELEASE)), BINARY_CHANGE, IMAGES_CHANGE)
        found = shell.machine.system.snapshot()
        assert (found[paths.BINARY].content, found[paths.BINARY].mode) == (BINARY, 0o755)
        image = found[f"{paths.IMAGES}/{TAR.name}"]
        assert (image.content, image.mode) == (IMAGES, 0o644)
        assert shell.copied == []
        assert left_of(shell.machine) == []

    def test_on_another_file_system_it_is_copied(self, shell: Stager) -> None:
        shell.machine.system.put({f"{paths.DATA}/.keep": ""})
        shell.machine.system.mounts.add(paths.DATA)
        do(task(shell.machine, server(**RELEASE)), BINARY_CHANGE, IMAGES_CHANGE)
        found = shell.machine.system.snapshot()
        assert [path for path in found if path.startswith(f"{paths.IMAGES}/")] == [f"{paths.IMAGES}/{TAR.name}"]
        assert found[f"{paths.IMAGES}/{TAR.name}"].content == IMAGES
        assert shell.copied == [f"{paths.IMAGES}/{TAR.name}"]
        assert left_of(shell.machine) == []

    @pytest.mark.parametrize("enforce", ["0", "1"])
    @pytest.mark.parametrize("way", ["move", "copy", "download"])
    def test_with_selinux_it_has_its_label_before_it_has_its_name(self, shell: Stager, enforce: str, way: str) -> None:
        """A kill after the rename would leave a label of the folder that it came from."""
        shell.enforce(enforce)
        system, request = shell.machine.system, server(**RELEASE)
        if way == "copy":
            system.put({"/srv/k3s": system.snapshot()[STAGED].content})
            request = server(binary=replace(K3S, url="file:///srv/k3s"))
        elif way == "download":
            system.pages["https://releases.example/k3s"] = HttpResponse(200, BINARY)
            request = server(binary=replace(K3S, url="https://releases.example/k3s"))
        else:
            run_to_end(system.set_label(STAGED, LIB_LABEL))
        if way != "move":
            run_to_end(system.remove_tree(paths.STAGED))
        work = task(shell.machine, request)
        do(work, BINARY_CHANGE)
        found = system.snapshot()[paths.BINARY]
        assert (found.content, found.mode, found.label) == (BINARY, 0o755, KUBE_LABEL)
        assert "restorecon" not in [item.argv[0] for item in system.commands]

    def test_a_label_that_is_wrong_is_seen_and_put_right(self, shell: Stager) -> None:
        shell.enforce("1")
        request = server(binary=K3S)
        run_to_end(shell.machine.system.write(paths.BINARY, BINARY, 0o755, label=LIB_LABEL))
        work = task(shell.machine, request)
        assert work.facts.k3s.wrong_label == "lib_t"
        do(work, f"selinux:{paths.BINARY}")
        assert shell.machine.system.snapshot()[paths.BINARY].label == KUBE_LABEL
        again = assess(request, shell.machine.facts()).changes
        assert not [change.id for change in again if change.action in ("set-label", "install-binary")]

    @pytest.mark.parametrize("label", ["unconfined_u:object_r:container_runtime_exec_t:s0:c1", ""])
    def test_who_labelled_it_and_for_which_level_is_no_difference(self, shell: Stager, label: str) -> None:
        shell.enforce("1")
        run_to_end(shell.machine.system.write(paths.BINARY, BINARY, 0o755, label=label))
        assert shell.machine.facts().k3s.wrong_label == ""

    @pytest.mark.parametrize(("enforce", "code"), [("1", "host.selinux-label"), ("0", "")])
    def test_nobody_can_be_asked_for_the_label(self, shell: Stager, enforce: str, code: str) -> None:
        shell.enforce(enforce)
        shell.machine.system.script("matchpathcon", "-n", "-m", "file", paths.BINARY, returncode=127, stderr="no such")
        work = task(shell.machine, server(**RELEASE))
        if code:
            assert failure(work, BINARY_CHANGE).code == code
        else:
            do(work, BINARY_CHANGE)
        assert (paths.BINARY in shell.machine.system.snapshot()) is not bool(code)

    def test_what_belongs_to_somebody_else_is_copied(self, shell: Stager) -> None:
        entries = shell.machine.system._entries
        entries[STAGED] = replace(entries[STAGED], uid=1000)
        do(task(shell.machine, server(**RELEASE)), BINARY_CHANGE)
        assert shell.copied == [paths.BINARY]
        assert shell.machine.system.snapshot()[paths.BINARY].uid == 0

    def test_what_changed_since_is_refused_and_makes_room_for_another(self, shell: Stager) -> None:
        shell.machine.system.put({STAGED: b"something else", paths.BINARY: b"the old k3s"})
        work = task(shell.machine, server(**RELEASE))
        assert [item.path for item in work.facts.k3s.staged if item.sha256 == K3S.sha256] == [STAGED]
        found = failure(work, BINARY_CHANGE)
        assert (found.code, STAGED in found.what) == ("artifact.checksum", True)
        assert shell.machine.system.snapshot()[paths.BINARY].content == b"the old k3s"
        assert [item.sha256 for item in shell.machine.facts().k3s.staged] == [TAR.sha256]

    def test_another_error_of_the_rename_is_no_reason_to_copy(self, shell: Stager) -> None:
        shell.machine.system.put({f"{paths.BINARY}/a-folder": ""})
        assert failure(task(shell.machine, server(**RELEASE)), BINARY_CHANGE).code == "host.file-failed"
        assert shell.copied == []

    @pytest.mark.parametrize("operation", ["make_directory", "rename", "remove"])
    def test_killed_before_each_effect_it_is_staged_or_in_place(self, shell: Stager, operation: str) -> None:
        machine, request = shell.machine, server(**RELEASE)

        def kill(what: str, _path: str) -> None:
            if what == operation:
                raise Killed

        machine.system.before = kill
        with pytest.raises(Killed):
            do(task(machine, request), BINARY_CHANGE)
        machine.system.before = lambda _what, _path: None
        facts = machine.facts()
        staged = [item.sha256 for item in facts.k3s.staged if item.sha256 == K3S.sha256]
        in_place = facts.k3s.binary is not None and facts.k3s.binary.sha256 == K3S.sha256
        assert (len(staged), in_place) == ((0, True) if operation == "remove" else (1, False))
        left = [change.id for change in assess(request, facts).changes if change.id == BINARY_CHANGE]
        do(task(machine, request, facts), *left)
        binary = machine.system.snapshot()[paths.BINARY]
        assert (binary.content, binary.mode) == (BINARY, 0o755)


WRITE = f"write:{paths.unit_file('k3s')}"


@pytest.fixture
def systemd() -> Systemd:
    """A server that runs."""
    return Systemd(LiveMachine())


class TestReload:
    @pytest.mark.parametrize(
        ("is_old", "told"),
        [(False, ["start", "enable"]), (True, ["start", "daemon-reload", "start", "enable"])],
    )
    def test_a_unit_that_systemd_does_not_know_is_read_when_it_starts(self, is_old: bool, told: list[str]) -> None:
        machine = Machine()
        systemd = Systemd(machine, is_old=is_old)
        machine.units.set("k3s", LoadState="not-found", NeedDaemonReload="no")
        do(task(machine, server(binary=None)), WRITE, "start:k3s", "enable:k3s")
        assert systemd.told == told

    def test_what_systemd_refuses_of_a_unit_that_it_knows_is_an_error(self, systemd: Systemd) -> None:
        systemd.machine.units.set("k3s", ActiveState="inactive", MainPID="0")
        systemd.machine.system.script_process(("systemctl", "start"), lambda _: Completed(1, "", "no"))
        with pytest.raises(ContractError) as caught:
            do(task(systemd.machine, server(binary=None)), "start:k3s")
        assert caught.value.failure.code == "host.systemctl-failed"
        assert systemd.told == []

    def test_a_unit_that_systemd_holds_is_reloaded_when_it_is_written(self, systemd: Systemd) -> None:
        """Its own word is not enough: it compares times of the files it has read."""
        unit = paths.unit_file("k3s")
        text = systemd.machine.system.snapshot()[unit].content.decode()
        systemd.machine.system.put({unit: text.replace("Restart=always", "Restart=no")})
        do(task(systemd.machine, server(binary=None)), WRITE)
        assert systemd.told == ["daemon-reload"]

    def test_another_file_than_the_unit_reloads_nothing(self, systemd: Systemd) -> None:
        do(task(systemd.machine, server(binary=None, config={"debug": True})), f"write:{paths.CONFIG}")
        assert systemd.told == []

    @pytest.mark.parametrize("needed", ["yes", "no", ""])
    def test_what_was_changed_beside_this_program_is_loaded_when_systemd_says_so(
        self, systemd: Systemd, needed: str
    ) -> None:
        """A drop-in of somebody else, or a kill between a write and the reload after it."""
        systemd.machine.units.set("k3s", NeedDaemonReload=needed)
        do(task(systemd.machine, server(binary=None, config={"debug": True})), "restart:k3s")
        assert systemd.told == ([] if needed == "no" else ["daemon-reload"]) + ["restart"]

    @pytest.mark.parametrize(("state", "before"), [("failed", ["reset-failed"]), ("inactive", [])])
    def test_only_a_unit_that_failed_is_reset(self, systemd: Systemd, state: str, before: list[str]) -> None:
        systemd.machine.units.set("k3s", ActiveState=state, MainPID="0")
        do(task(systemd.machine, server(binary=None)), "start:k3s")
        assert systemd.told == [*before, "start"]


def test_a_start_is_recorded_when_it_has_begun(systemd: Systemd) -> None:
    """systemctl does not wait for it: what runs a moment later may still be the process of before."""
    machine, looks = systemd.machine, itertools.count()

    def show(command: Command) -> Completed:
        if next(looks) == 4:
            machine.units.set("k3s", ActiveState="activating", MainPID="99", InvocationID="i2")
        return systemd.show(command)

    machine.system.script("systemctl", "restart")
    machine.system.script_process(("systemctl", "show", "k3s"), show)
    do(task(machine, server(binary=None, config={"debug": True})), "restart:k3s")
    record = json.loads(machine.system.snapshot()[paths.running_record("k3s")].content)
    assert record["invocation_id"] == "i2"


def test_a_start_is_recorded_without_asking_the_machine_or_the_cluster(systemd: Systemd) -> None:
    machine = systemd.machine
    work = task(machine, server(binary=None, config={"debug": True}))
    machine.system.commands.clear()
    machine.asked.clear()
    do(work, "restart:k3s")
    record = json.loads(machine.system.snapshot()[paths.running_record("k3s")].content)
    assert record["invocation_id"] == "i2"
    digest = hashlib.sha256(b"the binary").hexdigest()
    assert record["digests"]["binary"] == digest
    assert [path for path, _, noted in record["large_files"]["files"] if noted == digest] == [paths.BINARY]
    assert {item.argv[0] for item in machine.system.commands} <= {"systemctl", paths.BINARY}
    assert machine.asked == []
    running = machine.facts().k3s.running
    assert running is not None
    assert running.source == "recorded"


def test_labels_that_are_written_after_a_boot_leave_the_start_known(systemd: Systemd) -> None:
    """Nobody recorded the start of the boot: what the files said until now is what it was started with."""
    machine = systemd.machine
    wish = server(binary=None, labels={"disk": "ssd"})
    running = machine.facts().k3s.running
    assert running is not None
    assert running.source == "unchanged"
    do(task(machine, wish), f"write:{paths.CONFIG}")
    assert b"disk=ssd" in machine.system.snapshot()[paths.CONFIG].content
    facts = machine.facts()
    assert facts.k3s.running == replace(running, source="recorded")
    assert facts.k3s.on_disk == running.digests


class TestAFailureThatIsTold:
    """The first failure is why a run ended; that nobody can look afterwards is one more, and hides nothing."""

    @pytest.mark.parametrize(
        "later",
        [
            ContractError(Failure("host.denied", "no more", exit_code=5)),
            PermissionError(errno.EIO, "Input/output error", "/x"),
        ],
    )
    def test_what_cannot_be_looked_at_afterwards_hides_no_failure(self, systemd: Systemd, later: Exception) -> None:
        systemd.machine.units.set("k3s", ActiveState="inactive", MainPID="0")
        systemd.machine.system.script_process(("systemctl", "start"), lambda _: Completed(1, "", "no such disk"))
        looks: list[Facts] = []

        async def gather_once(host: ReadingHost) -> Facts:
            if looks:
                raise later
            looks.append(await gather(host))
            return looks[0]

        result = run_to_end(install.run(systemd.machine.host(), server(binary=None), gather=gather_once))
        assert (result.outcome, result.failures[0].code) == ("failed", "host.systemctl-failed")
        assert "no such disk" in result.failures[0].evidence
        assert [failure.code for failure in result.failures[1:]] in (["host.denied"], ["host.file-failed"])
        assert result.facts is None

    def test_a_run_that_cannot_see_what_it_did_did_not_end_well(self, systemd: Systemd) -> None:
        async def make(_: Change) -> None:
            return

        async def gather_nothing(_: ReadingHost) -> Facts:
            raise ContractError(Failure("host.denied", "no more", exit_code=5))

        change = Change("x", "write-file", "/x", "", "change")
        made = run_to_end(make_changes(systemd.machine.host(), (change,), make, gather_nothing))
        assert (made.outcome, made.changes) == ("failed", (change,))
        assert [failure.code for failure in made.failures] == ["host.denied"]
