"""`host-key`: a key of its own, in two steps that can each be cut off."""

from __future__ import annotations

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.events import Result
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.system import Completed
from productive_k3s.effects.host_key import KEY, PREPARED
from productive_k3s.verbs.run import run
from productive_k3s_infra.rehearse.system import Command, SimulatedSystem


class Machine:
    """A host with the key that it was made with; ssh-keygen makes key-1, key-2 and so on."""

    def __init__(self, active: str = "ssh.service") -> None:
        self.system = SimulatedSystem()
        self.system.put({KEY: "given", f"{KEY}.pub": "ssh-ed25519 GIVEN"})
        self.made = 0
        self.system.script_process(("ssh-keygen",), self._make)
        self.system.script("systemctl", "is-active", stdout="inactive\n", returncode=3)
        self.system.script("systemctl", "is-active", active, stdout="active\n")
        self.system.script("systemctl", "reload")

    def _make(self, command: Command) -> Completed:
        self.made += 1
        path = command.argv[-1]
        assert "-N" in command.argv
        self.system.put({path: f"key-{self.made}", f"{path}.pub": f"ssh-ed25519 PUBLIC{self.made} somebody@host\n"})
        return Completed(0, "", "")

    def run(self, *words: str) -> Result:
        flags = parser().parse_args(["host-key", *words])
        return run_to_end(run(Host(self.system, lambda _: None, lambda *_, **__: None), flags))  # type: ignore[arg-type,return-value]

    def read(self, path: str) -> str | None:
        found = run_to_end(self.system.read(path))
        return found.decode() if found is not None else None

    def reloaded(self) -> list[str]:
        return [" ".join(one.argv) for one in self.system.commands if one.argv[1] == "reload"]


def test_a_key_is_made_and_not_used_yet() -> None:
    machine = Machine()
    assert machine.run("--prepare") == Result("done", data={"public": "ssh-ed25519 PUBLIC1"})
    assert machine.read(KEY) == "given"
    assert machine.reloaded() == []
    assert machine.run("--prepare") == Result("unchanged", data={"public": "ssh-ed25519 PUBLIC1"})
    assert machine.made == 1


@pytest.mark.parametrize("unit", ["ssh.service", "sshd.service"])
def test_the_prepared_key_is_the_one_that_is_used(unit: str) -> None:
    machine = Machine(unit)
    machine.run("--prepare")
    result = machine.run("--rotate")
    assert result == Result("done", notes=(f"{unit} uses the new host key",), data={"public": "ssh-ed25519 PUBLIC1"})
    assert (machine.read(KEY), machine.read(PREPARED)) == ("key-1", None)
    assert "PUBLIC1" in (machine.read(f"{KEY}.pub") or "")
    assert machine.reloaded() == [f"systemctl reload {unit}"]


def test_with_selinux_the_key_has_its_label_before_its_name() -> None:
    machine = Machine()
    label = "system_u:object_r:sshd_key_t:s0"
    machine.system.put({"/sys/fs/selinux/enforce": "1"})
    machine.system.script("matchpathcon", stdout=f"{label}\n")
    machine.run("--rotate")
    found = machine.system.snapshot()
    assert [(found[path].label, found[path].mode) for path in (KEY, f"{KEY}.pub")] == [(label, 0o600), (label, 0o644)]


def test_by_hand_one_step_is_enough() -> None:
    machine = Machine("none")
    result = machine.run("--rotate")
    assert result.data == {"public": "ssh-ed25519 PUBLIC1"}
    assert result.notes == ("no SSH server is running; the next one uses the new host key",)
    assert machine.read(KEY) == "key-1"


def test_a_run_that_was_cut_between_the_halves_is_done_again() -> None:
    machine = Machine()
    machine.run("--prepare")
    run_to_end(machine.system.rename(PREPARED, KEY))
    assert machine.run("--rotate").data == {"public": "ssh-ed25519 PUBLIC2"}
    assert (machine.read(KEY), machine.read(f"{PREPARED}.pub")) == ("key-2", None)


@pytest.mark.parametrize(("command", "words"), [(("ssh-keygen",), "--prepare"), (("systemctl", "reload"), "--rotate")])
def test_what_does_not_work_is_said(command: tuple[str, ...], words: str) -> None:
    machine = Machine()
    machine.system.script(*command, stderr="no\nspace", returncode=1)
    result = machine.run(words)
    assert result.outcome == "failed"
    assert (result.failures[0].code, result.failures[0].evidence) == ("host-key.failed", "no space")


def test_one_at_a_time() -> None:
    machine = Machine()
    other = machine.system.another_process()
    from productive_k3s.k3s import paths

    run_to_end(other.lock(paths.LOCK, 0))
    assert machine.run("--rotate").outcome == "locked"


def test_it_says_which_step() -> None:
    for words in (["host-key"], ["host-key", "--prepare", "--rotate"]):
        with pytest.raises(SystemExit):
            parser().parse_args(words)
