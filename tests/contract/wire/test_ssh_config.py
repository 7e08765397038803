"""What stands in ~/.ssh/config and known_hosts means what OpenSSH means by it: the same files, both clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest

from productive_k3s_infra.errors import HostKeyMismatch, HostUnreachable, Pk3sError
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.build import Login
from productive_k3s_infra.inventory.model import Endpoint
from productive_k3s_infra.validate.quick import not_asked
from sshd_bed import USER, Site, site

pytestmark = pytest.mark.contract


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with site(tmp_path) as made:
        yield made


def by_name(name: str, port: int, **more: object) -> Endpoint:
    """Return an endpoint as a cluster file says it that names nothing but the host."""
    return Endpoint(name, USER, port, **more)  # type: ignore[arg-type]


async def refusal(bed: Site, endpoint: Endpoint, seconds: float = 15.0) -> Pk3sError:
    with pytest.raises(Pk3sError) as caught:
        await bed.reach(endpoint, seconds)
    assert caught.value.remedy
    assert caught.value.evidence
    return caught.value


class TestNames:
    async def test_a_host_by_name_is_asked_for_once(self, bed: Site) -> None:
        """Without a key in the cluster file; what the person says is found again by that name."""
        server = bed.start("one")
        bed.configure("", knows="")
        bed.answers.trust = True
        await bed.reach(by_name("localhost", server.port))
        assert bed.team.read_text() == server.known("localhost")
        await bed.reach(by_name("localhost", server.port))
        assert [where for where, _ in bed.answers.asked] == ["host-0"]

    async def test_a_jump_host_by_name(self, bed: Site) -> None:
        gate, inner = bed.start("gate"), bed.start("inner", "127.0.0.2")
        bed.configure("", knows=f"{gate.known('localhost')}{inner.known()}")
        await bed.reach(by_name("127.0.0.2", inner.port, jump=by_name("localhost", gate.port)))
        assert bed.answers.asked == []

    @pytest.mark.parametrize("hashed", [False, True])
    @pytest.mark.parametrize("pattern", ["localhost", "other,localhost,more"])
    async def test_several_names_and_hashed_ones(self, bed: Site, pattern: str, hashed: bool) -> None:
        server = bed.start("one")
        names = ",".join(f"[{name}]:{server.port}" for name in pattern.split(","))
        bed.team.write_text(f"{names} {server.host_key}\n")
        if hashed:
            hash_names(bed.team)
            assert "localhost" not in bed.team.read_text()
        bed.configure("", knows="")
        await bed.reach(by_name("localhost", server.port))

    async def test_a_name_without_its_port_is_enough(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("", knows=f"localhost {server.host_key}\n")
        assert bed.openssh("localhost").returncode == 255, "it listens elsewhere"
        await bed.reach(by_name("localhost", server.port))

    async def test_another_key_for_the_name_is_refused(self, bed: Site) -> None:
        server, other = bed.start("one"), bed.start("other")
        bed.configure("", knows="")
        bed.team.write_text(f"[localhost]:{server.port} {other.host_key}\n")
        bed.answers.trust = True
        error = await refusal(bed, by_name("localhost", server.port))
        assert (type(error), error.code) == (HostKeyMismatch, "ssh.host-key-changed")
        assert bed.answers.asked == []


def hash_names(known_hosts: Path) -> None:
    subprocess.run(("ssh-keygen", "-q", "-H", "-f", known_hosts), check=True, capture_output=True)


class TestKnownHosts:
    async def test_a_key_that_the_person_knows_is_told_the_team(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("")
        await bed.reach(by_name("127.0.0.1", server.port))
        assert bed.answers.asked == []
        assert bed.team.read_text() == server.known()

    async def test_odd_lines_and_odd_bytes_of_the_persons_file_are_passed_over(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("")
        odd = b"lonely\n@strange [x] y z\n|1|x|y ssh-ed25519 AAAA\n\xff\xfe caf\xe9 ssh-rsa AAAA\n"
        bed.persons.write_bytes(odd + bed.persons.read_bytes())
        bed.config.write_text(f"Host me\n  HostName 127.0.0.1\n  Port {server.port}\n{bed.config.read_text()}")
        assert bed.openssh("me").returncode == 0
        await bed.reach(by_name("127.0.0.1", server.port))

    async def test_the_persons_file_is_named_where_its_key_is_another(self, bed: Site) -> None:
        server, other = bed.start("one"), bed.start("other")
        bed.configure("", knows=f"[127.0.0.1]:{server.port} {other.host_key}\n")
        error = await refusal(bed, by_name("127.0.0.1", server.port))
        assert error.code == "ssh.host-key-changed"
        assert f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f {bed.persons}" in error.remedy
        assert not bed.team.exists()

    async def test_an_alias_is_what_it_is_known_by(self, bed: Site) -> None:
        server, other = bed.start("one"), bed.start("other")
        bed.configure(
            "Host 127.0.0.1\n  HostKeyAlias the-one",
            knows=f"{other.known()}[the-one]:{server.port} {other.host_key}\nthe-one {server.host_key}\n",
        )
        await bed.reach(by_name("127.0.0.1", server.port))
        assert bed.team.read_text() == f"[127.0.0.1]:{server.port},the-one {server.host_key}\n"

    async def test_files_with_blanks_in_their_names(self, bed: Site) -> None:
        server = bed.start("one")
        (bed.folder / "my files").mkdir()
        (bed.folder / "my files" / "known hosts").write_text(server.known())
        more = f'{bed.folder}/none "{bed.folder}/my files/known hosts" {bed.folder}/gone'
        bed.configure(f"UserKnownHostsFile {more}", knows="")
        await bed.reach(by_name("127.0.0.1", server.port))
        assert bed.answers.asked == []

    async def test_a_revoked_key_is_said_so(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("", knows=f"{server.known()}@revoked * {server.host_key}\n")
        error = await refusal(bed, by_name("127.0.0.1", server.port))
        assert (type(error), error.code) == (HostKeyMismatch, "ssh.host-key-changed")
        assert "revoked" in error.what

    async def test_a_key_of_a_host_that_the_configuration_finds_too_short(self, bed: Site) -> None:
        key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
        key.write_private_key(str(bed.folder / "short"))
        (bed.folder / "short").chmod(0o600)
        server = bed.start("one", HostKey=str(bed.folder / "short"))
        endpoint = by_name("127.0.0.1", server.port, host_keys=(key.export_public_key().decode(),))
        bed.configure("RequiredRSASize 3000")
        assert "2048 bits" in (await refusal(bed, endpoint)).evidence
        bed.configure("")
        await bed.reach(endpoint)

    async def test_nobody_is_asked_where_the_configuration_says_so(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("StrictHostKeyChecking yes", knows="")
        bed.answers.trust = True
        error = await refusal(bed, by_name("127.0.0.1", server.port))
        assert error.code == "ssh.host-key-unknown"
        assert bed.answers.asked == []

    async def test_no_is_no_way_around_the_question(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("StrictHostKeyChecking no", knows="")
        error = await refusal(bed, by_name("127.0.0.1", server.port))
        assert error.code == "ssh.host-key-unknown"
        assert len(bed.answers.asked) == 1

    async def test_an_authority_vouches_for_a_host(self, bed: Site, tmp_path: Path) -> None:
        authority = asyncssh.generate_private_key("ssh-ed25519")
        server = bed.start("one", HostCertificate=str(tmp_path / "cert.pub"))
        key = asyncssh.import_public_key(server.host_key)
        authority.generate_host_certificate(key, "one", principals=["localhost"]).write_certificate(
            str(tmp_path / "cert.pub")
        )
        os.kill(server.process.pid, 1)  # it reads its configuration anew
        public = authority.export_public_key().decode()
        bed.configure("", knows=f"@cert-authority *localhost* {public}")
        await _until_it_works(bed, by_name("localhost", server.port))
        error = await refusal(bed, by_name("127.0.0.1", server.port))
        assert error.code == "ssh.host-key-unknown"


async def _until_it_works(bed: Site, endpoint: Endpoint) -> None:
    for attempt in range(50):
        try:
            await bed.reach(endpoint)
        except HostUnreachable:
            assert attempt < 49
        else:
            return


class TestJumps:
    async def test_a_chain_of_names_from_the_configuration(self, bed: Site) -> None:
        """Each hop by its own entry, the first one's own jump host included."""
        one, two, three, last = (bed.start(name, f"127.0.0.{n}") for n, name in enumerate(("a", "b", "c", "d"), 2))
        entries = "".join(
            f"Host {name}\n  HostName {server.address}\n  Port {server.port}\n  {more}\n"
            for name, server, more in (
                ("a", one, ""),
                ("b", two, "ProxyJump a"),
                ("c", three, ""),
                ("d", last, "ProxyJump b,c"),
            )
        )
        bed.configure(entries)
        assert bed.openssh("d").returncode == 0
        await bed.reach(by_name("d", last.port))
        logins = [server.log.read_text().count("Accepted publickey") for server in (one, two, three, last)]
        assert logins == [2, 2, 2, 2], "ssh's, and ours"

    async def test_proxy_command_none_before_a_jump_host_is_first(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure(
            f"Host one\n  HostName 127.0.0.1\n  Port {server.port}\n  ProxyCommand none\n  ProxyJump nowhere.invalid"
        )
        assert bed.openssh("one").returncode == 0
        await bed.reach(by_name("one", server.port))

    @pytest.mark.parametrize(
        "command",
        [
            "python3 {relay} $(echo %h) %p  # through the shell",
            "sh -c 'cd ~ && exec python3 {relay} %h %p'",
            "env RELAY={relay} sh -c 'python3 $RELAY $PK3S_HOST %p'",
        ],
    )
    async def test_a_proxy_command_is_the_shells(
        self, bed: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        server = bed.start("one")
        monkeypatch.setenv("PK3S_HOST", "127.0.0.1")
        relay = tmp_path / "relay.py"
        relay.write_text(_RELAY)
        said = command.format(relay=relay)
        bed.configure(
            f"Host one\n  HostName 127.0.0.1\n  HostKeyAlias one\n  ProxyCommand {said}\n  Port {server.port}", knows=""
        )
        bed.team.write_text(f"one {server.host_key}\n")
        bed.persons.write_text(f"one {server.host_key}\n")
        assert bed.openssh("one").returncode == 0
        await bed.reach(by_name("one", server.port))

    async def test_a_proxy_command_that_fails_is_named_with_its_words(self, bed: Site) -> None:
        bed.configure("Host one\n  ProxyCommand sh -c 'echo the VPN is $(printf d%%s own) >&2; exit 3'")
        error = await refusal(bed, by_name("one", 22))
        assert error.code == "ssh.proxy-command"
        assert "the VPN is down" in error.evidence
        bed.configure("Host one\n  ProxyCommand no-such-command-here %h")
        assert "no-such-command-here" in (await refusal(bed, by_name("one", 22))).evidence

    async def test_a_circle_of_jump_hosts_is_named(self, bed: Site) -> None:
        bed.configure("Host a\n  ProxyJump b\nHost b\n  ProxyJump a")
        error = await refusal(bed, by_name("a", 22))
        assert error.code == "ssh.config"
        assert "form a loop" in error.what
        assert error.evidence.count(" -> ") == 2, "each hop once, and back"
        bed.configure("Host a\n  ProxyJump a")
        assert "loop" in (await refusal(bed, by_name("a", 22))).evidence


_RELAY = """\
import os, select, socket, sys
way = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for one in select.select([0, way], [], [])[0]:
        data = os.read(0, 65536) if one == 0 else way.recv(65536)
        if not data:
            sys.exit()
        way.sendall(data) if one == 0 else os.write(1, data)
"""


class TestFailuresOfAJumpHost:
    """Each is told of the jump host, with a remedy for it; the host behind is not blamed."""

    @pytest.fixture(params=["file", "config"])
    def jump(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def through(self, bed: Site, jump: str, address: str, port: int, user: str = USER) -> Endpoint:
        """Return the host behind a jump host that the cluster file names, or that the configuration does."""
        inner = next(server for server in bed.servers if server.name == "inner")
        if jump == "file":
            return by_name(inner.address, inner.port, jump=Endpoint(address, user, port, str(bed.key)))
        bed.config.write_text(f"Host {inner.address}\n  ProxyJump {user}@{address}:{port}\n{bed.config.read_text()}")
        return by_name(inner.address, inner.port)

    async def failure(self, bed: Site, endpoint: Endpoint, port: int) -> Pk3sError:
        error = await refusal(bed, endpoint)
        assert error.where.startswith("jump host ")
        assert error.where.endswith(" of host-0")
        assert "the jump host" in not_asked("host-0", error).message, "as a list of hosts shows it"
        assert str(port) in error.where + error.evidence
        assert "127.0.0.9" not in error.remedy, "the host behind is good"
        return error

    async def test_an_unknown_key(self, bed: Site, jump: str) -> None:
        gate, inner = bed.start("gate"), bed.start("inner", "127.0.0.9")
        bed.configure("", knows=inner.known())
        error = await self.failure(bed, self.through(bed, jump, gate.address, gate.port), gate.port)
        assert error.code == "ssh.host-key-unknown"
        assert gate.known().strip() in error.remedy

    async def test_a_changed_key(self, bed: Site, jump: str) -> None:
        gate, inner = bed.start("gate"), bed.start("inner", "127.0.0.9")
        bed.configure("", knows=f"{inner.known()}[127.0.0.1]:{gate.port} {inner.host_key}\n")
        error = await self.failure(bed, self.through(bed, jump, gate.address, gate.port), gate.port)
        assert error.code == "ssh.host-key-changed"

    async def test_a_refused_user(self, bed: Site, jump: str) -> None:
        gate, _ = bed.start("gate"), bed.start("inner", "127.0.0.9")
        bed.configure("")
        error = await self.failure(bed, self.through(bed, jump, gate.address, gate.port, "stranger"), gate.port)
        assert error.code == "ssh.authentication"
        assert "stranger@127.0.0.1" in error.evidence
        assert "stranger@127.0.0.1" in error.remedy

    async def test_a_name_that_is_none(self, bed: Site, jump: str) -> None:
        bed.start("inner", "127.0.0.9")
        bed.configure("")
        error = await self.failure(bed, self.through(bed, jump, "no-such-gate.invalid", 22), 22)
        assert error.code == "ssh.unknown-name"

    async def test_a_closed_port(self, bed: Site, jump: str) -> None:
        bed.start("inner", "127.0.0.9")
        bed.configure("")
        error = await self.failure(bed, self.through(bed, jump, "127.0.0.1", 1), 1)
        assert error.code == "ssh.refused"

    async def test_one_that_forwards_nothing(self, bed: Site, jump: str) -> None:
        gate, _ = bed.start("gate", AllowTcpForwarding="no"), bed.start("inner", "127.0.0.9")
        bed.configure("")
        error = await refusal(bed, self.through(bed, jump, gate.address, gate.port))
        assert error.code == "ssh.jump-refused"
        assert error.where.startswith(f"jump host {USER}@127.0.0.1:{gate.port}")
        assert "AllowTcpForwarding" in error.remedy


class TestTheConfigurationItself:
    @pytest.mark.parametrize(
        "entry",
        [
            "Host one # my machine\n  HostName 127.0.0.1   # on loopback\n  Port {port} # not 22",
            'Match exec "test %h = one"\n  HostName 127.0.0.1\n  Port {port}',
            'Match originalhost one exec "true"\n  HostName 127.0.0.1\n  Port {port}',
            "Host one\n  HostName=127.0.0.1\n  Port={port}\nHost one\n  Port 1",
            "Include {folder}/more\nHost one\n  Port 1",
            "Host one\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/none\n  CertificateFile /none",
            "Host one\n  HostName 127.0.0.1\n  Port {port}\n  PKCS11Provider /usr/lib/no-such-card.so",
            "Host caf\xe9\n  Port 1\nHost one\n  HostName 127.0.0.1\n  Port {port}",
            "Host one\n  HostName 127.0.0.1\n  Port {port}\n  Ciphers aes256-ctr\n  MACs umac-64@openssh.com,hmac-sha1",
            "Host one\n  HostName 127.0.0.1\n  Port {port}\n  KexAlgorithms curve25519-sha256\n  RequiredRSASize 3000",
        ],
    )
    async def test_it_is_what_openssh_makes_of_it(self, bed: Site, entry: str) -> None:
        server = bed.start("one")
        (bed.folder / "more").write_text(f"Host one\n  HostName 127.0.0.1\n  Port {server.port}\n")
        bed.configure("")
        text = f"{entry.format(port=server.port, folder=bed.folder)}\n{bed.config.read_text()}"
        bed.config.write_bytes(text.encode("latin-1"))
        assert bed.openssh("one").returncode == 0
        login = OpenSsh(str(bed.config)).login("one", USER)
        assert login.port == server.port
        await bed.reach(by_name("one", login.port))

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ("Include {folder}/config", "recursive"),
            ("Host one\n  NoSuchKeyword yes", "nosuchkeyword"),
            ("Host one\n  Port many", "Bad port"),
            ("Host one\n  KnownHostsCommand /bin/true", "knownhostscommand /bin/true"),
            ("Host one\n  RevokedHostKeys {folder}/revoked", "revokedhostkeys"),
            ("Host one\n  BindInterface lo", "bindinterface lo"),
            ("Host one\n  PubkeyAuthentication no", "pubkeyauthentication"),
            ("Host one\n  ProxyUseFdpass yes", "proxyusefdpass yes"),
            ("Host one\n  HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com", "hostkeyalgorithms"),
        ],
    )
    async def test_what_cannot_be_honoured_is_refused_by_name(self, bed: Site, entry: str, words: str) -> None:
        server = bed.start("one")
        bed.configure("")
        bed.config.write_text(f"{entry.format(folder=bed.folder)}\n{bed.config.read_text()}")
        error = await refusal(bed, by_name("one", server.port))
        assert error.code == "ssh.config"
        assert words in error.evidence
        assert error.where == "host-0"

    async def test_a_name_that_is_none_is_no_bug(self, bed: Site) -> None:
        bed.configure(f"Host one\n  HostName {'a' * 70}.example")
        error = await refusal(bed, by_name("one", 22))
        assert error.code in {"ssh.config", "ssh.unknown-name"}
        assert "aaaa.example" in error.evidence

    async def test_of_no_concern_for_this_host_is_of_no_concern(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("Host other\n  KnownHostsCommand /bin/true\nHost *\n  ControlMaster auto\n  SendEnv LANG")
        await bed.reach(by_name("127.0.0.1", server.port))

    async def test_a_command_that_hangs_is_said(self, bed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        bed.configure('Match exec "sleep 30"\n  Port 1')
        reader = OpenSsh(str(bed.config), seconds=0.5)
        with pytest.raises(Pk3sError) as caught:
            async with asyncio.timeout(8):
                await reader.config("one", None, None, "host-0")
        assert caught.value.code == "ssh.config"
        assert "Match exec" in caught.value.remedy


class TestUserAndPort:
    @pytest.mark.parametrize(
        ("entry", "login"),
        [
            ("Host one\n  User bob\n  Port 2222", Login("bob", 2222)),
            (f"Host one\n  User {USER}", Login(USER, 22)),
            ("Host other\n  User bob", Login(None, 22)),
            ("Match host one user carol\n  Port 99", Login(None, 22)),
        ],
    )
    def test_they_are_told_apart_from_what_nobody_said(self, bed: Site, entry: str, login: Login) -> None:
        bed.configure(entry)
        assert OpenSsh(str(bed.config)).login("one") == login

    def test_a_match_of_the_user_sees_the_one_of_the_cluster_file(self, bed: Site) -> None:
        bed.configure("Match host one user carol\n  Port 99")
        assert OpenSsh(str(bed.config)).login("one", "carol") == Login("carol", 99)

    def test_no_configuration_says_nothing(self) -> None:
        assert OpenSsh("none").login("one") == Login(None, 22)


class TestAskedOnce:
    """A `Match exec` sees each question that ssh is asked; what was answered is not asked again."""

    @pytest.fixture
    def asked(self, bed: Site, tmp_path: Path) -> Callable[[], list[str]]:
        path = tmp_path / "asked"
        path.touch()
        bed.configure(f"Match exec \"echo %r %p >> '{path}'\"\n  Compression no\nHost far\n  Port 2222")
        return lambda: path.read_text().splitlines()

    async def test_by_whoever_looks_for_a_login_and_whoever_connects(
        self, bed: Site, asked: Callable[[], list[str]]
    ) -> None:
        openssh = OpenSsh(str(bed.config))
        assert openssh.login("one", "carol") == Login("carol", 22)
        once = asked()
        assert set(once) == {"carol 22"}
        answers = await asyncio.gather(*(openssh.config("one", "carol", 22, "one") for _ in range(5)))
        assert {(answer.user, answer.port) for answer in answers} == {("carol", 22)}
        assert asked() == once

    async def test_by_many_at_once(self, bed: Site, asked: Callable[[], list[str]]) -> None:
        await OpenSsh(str(bed.config)).config("one", "carol", 99, "one")
        once = asked()
        openssh = OpenSsh(str(bed.config))
        await asyncio.gather(*(openssh.config("one", "carol", 99, "one") for _ in range(5)))
        assert asked() == [*once, *once]

    async def test_unless_the_port_is_another(self, bed: Site, asked: Callable[[], list[str]]) -> None:
        openssh = OpenSsh(str(bed.config))
        assert openssh.login("far", "carol") == Login("carol", 2222)
        assert (await openssh.config("far", "carol", 22, "far")).port == 22
        assert (await openssh.config("far", "carol", 2222, "far")).port == 2222
        assert set(asked()) == {"carol 22", "carol 2222"}


class TestWithoutSsh:
    """No `ssh` on this computer: what needs no configuration works, all else is refused."""

    @pytest.fixture(autouse=True)
    def no_ssh(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = os.environ["PATH"]
        monkeypatch.setenv("PATH", str(tmp_path / "no-bin"))

    async def test_a_host_is_reached(self, bed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", self.path)
        server = bed.start("one")
        monkeypatch.setenv("PATH", str(bed.folder / "no-bin"))
        bed.team.write_text(server.known("localhost"))
        with no_file(bed.config):
            await bed.reach(by_name("localhost", server.port, key=str(bed.key)))

    async def test_a_configuration_that_nobody_can_read_is_named(self, bed: Site) -> None:
        bed.configure("")
        error = await refusal(bed, by_name("localhost", 22))
        assert error.code == "ssh.no-client"
        assert str(bed.config) in error.evidence


@contextmanager
def no_file(path: Path) -> Iterator[None]:
    assert not path.exists()
    yield
