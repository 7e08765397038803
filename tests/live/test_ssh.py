"""Real machines over real SSH: as a user whose sudo allows one command, through a jump host, and what goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from contract.wire.suite import CONTENT, WireSuite, in_pieces, stage
from lab_bed import Bed
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.errors import HostKeyMismatch, HostUnreachable, Pk3sError, SudoRefused
from productive_k3s_infra.hosts.fleet.session import HostSession
from productive_k3s_infra.hosts.ssh import known_hosts
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.hosts.wire import refusals
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from productive_k3s_infra.providers.local.machines import Machine, MachineRequest

pytestmark = pytest.mark.live

KEPT = "/usr/local/lib/productive-k3s"
_AFTER_USER = refusals.sudoers_line("ops").removeprefix("ops ")
_WITH_PASSWORD = _AFTER_USER.replace("NOPASSWD: ", "")
_SET = "ssh"
PASSWORD = "correct horse"
RESTORE_NAME = "hostname asking; cp /root/hosts /etc/hosts"


@dataclass(frozen=True)
class Lab:
    """The module's machines: `gate` is the way to `inner`, on `asking` sudo wants a password."""

    bed: Bed
    gate: Machine
    inner: Machine
    asking: Machine

    def endpoint(self, machine: Machine, user: str = "ops") -> Endpoint:
        return Endpoint(machine.address, user, machine.ssh_port, str(self.bed.key), (machine.host_key,))


@pytest.fixture(scope="module")
def machines(module_lab: Bed) -> Iterator[Lab]:
    requests = (
        MachineRequest("gate", extra_user="ops"),
        MachineRequest("inner", ssh_port=2222, extra_user="ops", sudoers=_AFTER_USER),
        MachineRequest("asking", extra_user="ops", sudoers=_WITH_PASSWORD),
    )
    made = Lab(module_lab, *module_lab.create(_SET, *requests))
    module_lab.ssh(made.asking, "chpasswd", data=f"ops:{PASSWORD}\n".encode())
    return made


@dataclass
class Answers:
    """What a person would say, and what was asked."""

    trust: bool = False
    password: str | None = None
    asked: list[object] = field(default_factory=list)

    def trusts(self, host: str, keys: tuple[str, ...]) -> bool:
        self.asked.append((host, keys))
        return self.trust

    def sudo(self, host: str) -> Secret | None:
        self.asked.append(host)
        return Secret(self.password) if self.password is not None else None


@asynccontextmanager
async def fleet(
    *endpoints: Endpoint, answers: Answers | None = None, known: Path | None = None, seconds: float = 15.0
) -> AsyncIterator[SshFleet]:
    """A fleet of host-0, host-1, ...; it is closed at the end."""
    answers = answers or Answers()
    hosts = tuple(Host(f"host-{n}", "server", item.address, item) for n, item in enumerate(endpoints))
    made = SshFleet(
        Inventory("live", hosts),
        program=build_program(),
        known_hosts=known,
        trust=answers.trusts,
        ask_sudo=answers.sudo,
        connect_seconds=seconds,
        openssh=OpenSsh("none"),
    )
    try:
        yield made
    finally:
        await made.close()


async def facts_of(endpoint: Endpoint, **options: Any) -> str:
    async with fleet(endpoint, **options) as made:
        result = await (await made.session("host-0")).call("facts")
        assert result.facts is not None, result.failures
        return result.facts.host.hostname


async def refusal(endpoint: Endpoint, **options: Any) -> Pk3sError:
    with pytest.raises(Pk3sError) as caught:
        await facts_of(endpoint, **options)
    assert caught.value.remedy
    assert caught.value.evidence
    return caught.value


@dataclass
class MachineBed:
    """The wire's suite on a machine, as `ops`, through the jump host."""

    lab: Lab
    session: HostSession
    undo: list[Callable[[], object]] = field(default_factory=list)

    def root(self, command: str) -> str:
        return self.lab.bed.ssh(self.lab.inner, command)

    def free_port(self) -> int:
        return random.randrange(20000, 30000)

    def cut(self) -> None:
        self.root("pkill -KILL -u ops sshd")

    def fill_disk(self) -> None:
        self.root(f"mkdir -p {KEPT} && mount -t tmpfs -o size=512k,mode=755 small {KEPT}")
        self.undo.append(lambda: self.root(f"umount {KEPT}"))

    def seen(self) -> str:
        """sudo logs the whole command."""
        said = self.root("journalctl --no-pager -o cat _COMM=sudo")
        assert "COMMAND=/usr/bin/python3 -I -c exec(eval(input()))" in said
        return said


class TestOnAMachine(WireSuite):
    @pytest.fixture
    async def bed(self, machines: Lab) -> AsyncIterator[MachineBed]:
        inner = replace(machines.endpoint(machines.inner), jump=machines.endpoint(machines.gate))
        async with fleet(inner) as made:
            bed = MachineBed(machines, await made.session("host-0"))
            yield bed
        for undo in bed.undo:
            undo()
        bed.root(f"rm -rf {KEPT}")


async def test_the_one_sudoers_line_is_enough_and_allows_nothing_else(machines: Lab) -> None:
    assert "parsed OK" in machines.bed.ssh(machines.inner, "visudo -c")
    assert await facts_of(machines.endpoint(machines.inner)) == "inner"
    for other in ("id", "/usr/bin/python3 -I -c 'print(1)'", "/usr/bin/python3 -I -c 'exec(eval(input()))' more"):
        assert machines.bed.try_ssh(machines.inner, f"sudo -n {other}", user="ops").returncode == 1


async def test_a_terminal_of_sudos_own_does_no_harm(machines: Lab) -> None:
    """Debian 13 and Ubuntu 24.04 have use_pty by default."""
    machines.bed.put(machines.inner, "/etc/sudoers.d/zz-pty", "Defaults use_pty\n", mode="440")
    try:
        async with fleet(machines.endpoint(machines.inner)) as made:
            session = await made.session("host-0")
            result = await session.call("stage", arguments=stage("pty"), payload=in_pieces(CONTENT))
        assert result.outcome == "done"
    finally:
        machines.bed.ssh(machines.inner, f"rm -rf /etc/sudoers.d/zz-pty {KEPT}")


async def test_root_needs_no_sudo(machines: Lab) -> None:
    assert await facts_of(machines.endpoint(machines.gate, "root")) == "gate"


async def test_hosts_behind_a_jump_host_share_its_connection(machines: Lab) -> None:
    jump = machines.endpoint(machines.gate)
    ends = [replace(machines.endpoint(one, "root"), jump=jump) for one in (machines.inner, machines.asking)]
    async with fleet(*ends) as made:
        sessions = await asyncio.gather(*(made.session(f"host-{n}") for n in (0, 1)))
        results = await asyncio.gather(*(session.call("facts") for session in sessions))
        count = machines.bed.ssh(machines.gate, "pgrep -c -u ops sshd")
    assert [result.facts.host.hostname for result in results if result.facts] == ["inner", "asking"]
    assert count == "1"


async def test_noise_of_start_up_files_is_tolerated(machines: Lab) -> None:
    noise = 'echo \'Welcome! {"type": "result"}\'; stty sane; echo trouble >&2\n'
    for path in ("/etc/profile.d/noise.sh", "/home/ops/.bashrc"):
        machines.bed.put(machines.inner, path, noise, mode="644")
    machines.bed.ssh(machines.inner, "chsh -s /bin/bash ops")
    try:
        assert "Welcome" in machines.bed.ssh(machines.inner, "true", user="ops"), "the file is read"
        assert await facts_of(machines.endpoint(machines.inner)) == "inner"
    finally:
        machines.bed.ssh(machines.inner, "rm -f /etc/profile.d/noise.sh ~ops/.bashrc")


async def test_no_python_is_named(machines: Lab) -> None:
    machines.bed.ssh(machines.inner, "mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        for user in ("ops", "root"):
            error = await refusal(machines.endpoint(machines.inner, user))
            assert error.code == "host.no-python"
    finally:
        machines.bed.ssh(machines.inner, "mv /usr/bin/python3.away /usr/bin/python3")


class TestSudo:
    async def test_a_password_is_asked_once_for_all_calls(self, machines: Lab) -> None:
        answers = Answers(password=PASSWORD)
        async with fleet(machines.endpoint(machines.asking), answers=answers) as made:
            session = await made.session("host-0")
            results = await asyncio.gather(*(session.call("facts") for _ in range(3)))
            results.append(await session.call("facts"))
        assert all(result.facts for result in results)
        assert answers.asked == ["host-0"]
        said = machines.bed.ssh(machines.asking, "journalctl --no-pager; cat /proc/*/cmdline | tr '\\0' ' '")
        assert PASSWORD not in said

    async def test_nobody_to_ask_is_a_refusal(self, machines: Lab) -> None:
        error = await refusal(machines.endpoint(machines.asking))
        assert (type(error), error.code) == (SudoRefused, "sudo.password-wanted")
        assert refusals.sudoers_line("ops") in error.remedy

    async def test_a_wrong_password_is_said_so(self, machines: Lab) -> None:
        error = await refusal(machines.endpoint(machines.asking), answers=Answers(password="wrong"))
        assert error.code == "sudo.wrong-password"

    async def test_a_user_without_rights_is_told_the_line(self, machines: Lab) -> None:
        machines.bed.ssh(machines.gate, "chpasswd", data=f"ops:{PASSWORD}\n".encode())
        error = await refusal(machines.endpoint(machines.gate), answers=Answers(password=PASSWORD))
        assert (type(error), error.code) == (SudoRefused, "sudo.refused")
        assert refusals.sudoers_line("ops") in error.remedy


@contextmanager
def undone(machines: Lab, do: str, undo: str) -> Iterator[None]:
    """Change something of the host that asks for a password, and change it back."""
    machines.bed.ssh(machines.asking, do)
    try:
        yield
    finally:
        machines.bed.ssh(machines.asking, undo)


class TestLoginsThatEndBeforeWeBegin:
    """The host says why, and its words are told; nothing was begun there."""

    async def test_a_host_that_cannot_resolve_its_own_name_is_asked_for_its_password(self, machines: Lab) -> None:
        answers = Answers(password=PASSWORD)
        with undone(machines, "cp /etc/hosts /root/hosts; : > /etc/hosts; hostname nowhere", RESTORE_NAME):
            said = machines.bed.try_ssh(machines.asking, "sudo -n true", user="ops").stderr
            assert said.startswith("sudo: unable to resolve host"), "sudo warns first"
            assert await facts_of(machines.endpoint(machines.asking), answers=answers) == "nowhere"
        assert answers.asked == ["host-0"]

    async def test_a_sudo_that_wants_a_terminal(self, machines: Lab) -> None:
        line = "echo 'Defaults requiretty' > /etc/sudoers.d/zz-tty; chmod 440 /etc/sudoers.d/zz-tty"
        with undone(machines, line, "rm -f /etc/sudoers.d/zz-tty"):
            error = await refusal(machines.endpoint(machines.asking))
            assert (type(error), error.code) == (SudoRefused, "sudo.tty-wanted")
            written = error.remedy.partition(": ")[2]
            machines.bed.ssh(machines.asking, f"umask 227; echo '{written}' > /etc/sudoers.d/zz-zz; visudo -c")
            try:
                told = await refusal(machines.endpoint(machines.asking))
                assert told.code == "sudo.password-wanted", "the line that was printed helps"
            finally:
                machines.bed.ssh(machines.asking, "rm /etc/sudoers.d/zz-zz")

    async def test_a_user_without_a_shell(self, machines: Lab) -> None:
        with undone(machines, "chsh -s /usr/sbin/nologin ops", "chsh -s /bin/sh ops"):
            error = await refusal(machines.endpoint(machines.asking))
        assert error.code == "host.not-run"
        assert "currently not available" in error.evidence
        assert "usermod --shell" in error.remedy

    async def test_an_expired_password(self, machines: Lab) -> None:
        with undone(machines, "chage -d 0 ops", "chage -d $(( $(date +%s) / 86400 )) ops"):
            error = await refusal(machines.endpoint(machines.asking))
        assert error.code == "host.account-expired"
        assert "expired" in error.evidence or "required" in error.evidence

    @pytest.mark.parametrize("last", ["exit 0", "echo This host is for backups.; exit 3", "exec cat /etc/hostname"])
    async def test_a_start_up_file_that_ends(self, machines: Lab, last: str) -> None:
        with undone(
            machines,
            f"chsh -s /bin/bash ops; echo '{last}' > ~ops/.bashrc; chown ops ~ops/.bashrc",
            "chsh -s /bin/sh ops; rm ~ops/.bashrc",
        ):
            error = await refusal(machines.endpoint(machines.asking))
        assert error.code == "host.not-run"
        assert "start-up files" in error.remedy

    async def test_a_host_that_lets_only_root_in(self, machines: Lab) -> None:
        """As while it boots or shuts down."""
        with undone(machines, "echo Back at noon. > /run/nologin", "rm -f /run/nologin"):
            error = await refusal(machines.endpoint(machines.asking))
        assert error.code == "ssh.login-cut-off"
        assert "Back at noon." in error.evidence


class TestHostKeys:
    async def test_an_unknown_key_is_refused_when_nobody_can_say(self, machines: Lab, tmp_path: Path) -> None:
        path = tmp_path / "known_hosts"
        unknown = replace(machines.endpoint(machines.inner), host_keys=())
        error = await refusal(unknown, known=path)
        assert (type(error), error.code) == (HostKeyMismatch, "ssh.host-key-unknown")
        assert known_hosts.fingerprint(machines.inner.host_key) in error.evidence
        assert f"[{machines.inner.address}]:2222 {machines.inner.host_key}" in error.remedy
        assert not path.exists()

    async def test_a_key_that_is_trusted_is_asked_for_once(self, machines: Lab, tmp_path: Path) -> None:
        path, answers = tmp_path / "known_hosts", Answers(trust=True)
        jump = replace(machines.endpoint(machines.gate), host_keys=())
        unknown = replace(machines.endpoint(machines.inner), host_keys=(), jump=jump)
        assert await facts_of(unknown, known=path, answers=answers) == "inner"
        assert len(answers.asked) == 2, "the jump host's key, and the host's"
        assert await facts_of(unknown, known=path) == "inner"

    async def test_a_changed_key_is_refused_and_both_are_named(self, machines: Lab, tmp_path: Path) -> None:
        path, other = tmp_path / "known_hosts", machines.gate.host_key
        path.write_text(f"[{machines.inner.address}]:2222 {other}\n")
        answers = Answers(trust=True)
        for endpoint, source in (
            (replace(machines.endpoint(machines.inner), host_keys=()), str(path)),
            (replace(machines.endpoint(machines.inner), host_keys=(other,)), "the cluster file"),
        ):
            error = await refusal(endpoint, known=path, answers=answers)
            assert (type(error), error.code) == (HostKeyMismatch, "ssh.host-key-changed")
            assert known_hosts.fingerprint(other) in error.evidence
            assert known_hosts.fingerprint(machines.inner.host_key) in error.evidence
            assert source in error.evidence
        assert answers.asked == []

    async def test_a_jump_hosts_key_is_verified_too(self, machines: Lab) -> None:
        jump = replace(machines.endpoint(machines.gate), host_keys=(machines.inner.host_key,))
        error = await refusal(replace(machines.endpoint(machines.inner), jump=jump))
        assert error.code == "ssh.host-key-changed"
        assert error.where.startswith("jump host")

    async def test_a_key_of_another_kind_is_a_changed_key(self, machines: Lab) -> None:
        ecdsa = machines.bed.ssh(machines.gate, "ssh-keygen -q -t ecdsa -N '' -f /tmp/k; cat /tmp/k.pub; rm /tmp/k*")
        error = await refusal(replace(machines.endpoint(machines.inner), host_keys=(ecdsa,)))
        assert error.code == "ssh.host-key-changed"


class TestUnreachable:
    async def test_a_wrong_user_is_named(self, machines: Lab) -> None:
        error = await refusal(machines.endpoint(machines.inner, "nobody-we-know"))
        assert error.code == "ssh.authentication"
        assert "nobody-we-know@" in error.evidence
        assert str(machines.bed.key) in error.evidence

    async def test_a_wrong_port(self, machines: Lab) -> None:
        error = await refusal(replace(machines.endpoint(machines.inner), port=22))
        assert (type(error), error.code) == (HostUnreachable, "ssh.refused")

    async def test_nobody_there(self, machines: Lab) -> None:
        nobody = machines.inner.address.rpartition(".")[0] + ".250"
        error = await refusal(replace(machines.endpoint(machines.inner), address=nobody), seconds=8.0)
        assert error.code in {"ssh.no-route", "ssh.timeout"}

    async def test_a_name_that_is_none(self, machines: Lab) -> None:
        error = await refusal(replace(machines.endpoint(machines.inner), address="no-such-host.invalid"))
        assert error.code == "ssh.unknown-name"

    async def test_a_jump_host_that_refuses(self, machines: Lab) -> None:
        jump = machines.endpoint(machines.gate)
        error = await refusal(replace(machines.endpoint(machines.inner), port=1, jump=jump))
        assert error.code == "ssh.jump-refused"
        assert error.where == f"jump host {jump} of host-0"
        assert f"{machines.inner.address}:1" in error.what

    async def test_something_that_is_no_ssh(self, machines: Lab) -> None:
        unit = "systemd-run -q --unit=noise --service-type=exec socat TCP-LISTEN:99,fork,reuseaddr"
        machines.bed.ssh(machines.gate, f"{unit} EXEC:'/bin/echo HTTP/1.0'")
        try:
            error = await refusal(replace(machines.endpoint(machines.gate), port=99))
        finally:
            machines.bed.ssh(machines.gate, "systemctl stop noise")
        assert isinstance(error, HostUnreachable)

    async def test_a_lost_connection_is_made_anew(self, machines: Lab) -> None:
        async with fleet(machines.endpoint(machines.inner)) as made:
            first = await made.session("host-0")
            assert (await first.call("facts")).facts
            machines.bed.ssh(machines.inner, "pkill -KILL -u ops sshd")
            assert (await first.call("facts")).facts
            assert (await (await made.session("host-0")).call("facts")).facts
