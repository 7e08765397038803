"""Keys, certificates and SSH agents: what OpenSSH logs in with, we do; what is refused is said in the host's words."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncssh
import pytest

from productive_k3s_infra.errors import AuthenticationRefused, BadInput, Pk3sError
from productive_k3s_infra.inventory.model import Endpoint
from sshd_bed import USER, Server, Site, free_port, site

pytestmark = pytest.mark.contract


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """An SSH agent without keys; its socket."""
    with own_agent(tmp_path / f"agent-{os.getuid()}") as path:
        yield path


@contextmanager
def own_agent(path: Path) -> Iterator[Path]:
    process = subprocess.Popen(("ssh-agent", "-D", "-a", path), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it says where it listens, once it does
        yield path
    finally:
        process.terminate()
        process.communicate()


def add(agent: Path, key: Path, passphrase: str = "") -> None:
    """Put a key into the agent; its passphrase is given as a person's tool would."""
    ask = key.with_name("ask")
    ask.write_text(f"#!/bin/sh\necho {passphrase}\n")
    ask.chmod(0o755)
    how = {**os.environ, "SSH_AUTH_SOCK": str(agent), "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(("ssh-add", "-q", key), env=how, check=True, stdin=subprocess.DEVNULL)


def encrypt(key: Path) -> None:
    """Give the key a passphrase, and leave nothing of its public half but what lies inside it."""
    words = ("ssh-keygen", "-q", "-p", "-P", "", "-N", "a passphrase", "-f", key)
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    Path(f"{key}.pub").unlink()


def to(server: Server, key: Path | None = None, user: str = USER) -> Endpoint:
    return Endpoint(server.address, user, server.port, str(key) if key else None, (server.host_key,))


async def refusal(bed: Site, endpoint: Endpoint, seconds: float = 15.0) -> Pk3sError:
    with pytest.raises(Pk3sError) as caught:
        await bed.reach(endpoint, seconds)
    assert caught.value.remedy
    assert caught.value.evidence
    return caught.value


class TestFiles:
    async def test_the_named_key_is_used(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure("")
        await bed.reach(to(server, bed.key))

    async def test_a_named_key_that_is_not_there_is_bad_input(self, bed: Site) -> None:
        bed.configure("")
        server = bed.start("one")
        error = await refusal(bed, to(server, bed.folder / "none"))
        assert (type(error), error.code) == (BadInput, "ssh.key-unreadable")

    async def test_a_key_that_others_may_read_is_not_used(self, bed: Site) -> None:
        server = bed.start("one")
        bed.configure(f"Host one\n  HostName 127.0.0.1\n  Port {server.port}")
        assert bed.openssh("one").returncode == 0
        bed.key.chmod(0o644)
        assert bed.openssh("one").returncode == 255
        error = await refusal(bed, to(server, bed.key))
        assert (type(error), error.code) == (BadInput, "ssh.key-unreadable")
        assert "chmod 600" in error.remedy
        error = await refusal(bed, to(server))
        assert error.code == "ssh.authentication"
        assert f"{bed.key}: others can read it" in error.evidence

    @pytest.mark.parametrize("name", ["id.pub", "authorized", "config"])
    async def test_a_named_file_that_is_no_private_key(self, bed: Site, name: str) -> None:
        bed.configure("")
        error = await refusal(bed, to(bed.start("one"), bed.folder / name))
        assert (type(error), error.code) == (BadInput, "ssh.key-unusable")

    async def test_what_was_passed_over_is_told_where_the_login_is_refused(self, bed: Site) -> None:
        server = bed.start("one", AuthorizedKeysFile="none")
        bed.configure(f"IdentityFile {bed.folder}/gone\nGSSAPIAuthentication yes\nPKCS11Provider /usr/lib/card.so")
        error = await refusal(bed, to(server))
        assert (type(error), error.code) == (AuthenticationRefused, "ssh.authentication")
        for words in (str(bed.key), f"{bed.folder}/gone: No such file", "gssapiauthentication yes", "/usr/lib/card.so"):
            assert words in error.evidence

    async def test_the_hosts_own_words_are_told(self, bed: Site) -> None:
        (bed.folder / "banner").write_text("Maintenance until 18:00\n")
        server = bed.start("one", AuthorizedKeysFile="none", Banner=str(bed.folder / "banner"))
        bed.configure("")
        assert "Maintenance until 18:00" in (await refusal(bed, to(server))).evidence

    async def test_a_certificate_opens_where_no_key_does(self, bed: Site) -> None:
        authority = asyncssh.generate_private_key("ssh-ed25519")
        authority.write_public_key(str(bed.folder / "authority"))
        server = bed.start("one", AuthorizedKeysFile="none", TrustedUserCAKeys=str(bed.folder / "authority"))
        certificate = authority.generate_user_certificate(
            asyncssh.read_public_key(f"{bed.key}.pub"), "me", principals=[USER]
        )
        certificate.write_certificate(str(bed.folder / "elsewhere"))
        bed.configure(f"CertificateFile /nowhere\nCertificateFile {bed.folder}/elsewhere")
        await bed.reach(to(server))
        await bed.reach(to(server, bed.key))

    async def test_an_rsa_key_that_the_configuration_finds_too_short(self, bed: Site) -> None:
        server = bed.start("one")
        short = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
        short.write_private_key(str(bed.folder / "short"))
        (bed.folder / "short").chmod(0o600)
        (bed.folder / "authorized").write_bytes(short.export_public_key())
        bed.configure(f"IdentityFile {bed.folder}/short\nRequiredRSASize 3000")
        assert "1 keys of kinds that ~/.ssh/config forbids" in (await refusal(bed, to(server))).evidence
        bed.configure(f"IdentityFile {bed.folder}/short")
        await bed.reach(to(server))

    async def test_a_hardware_key_that_cannot_be_reached(self, bed: Site) -> None:
        path = bed.folder / "sk"
        path.write_text(hardware_key())
        path.chmod(0o600)
        bed.configure("")
        error = await refusal(bed, to(bed.start("one"), path))
        assert error.code == "ssh.key-hardware"
        assert "fido2" in error.evidence
        assert f"ssh-add {path}" in error.remedy


class TestAgents:
    async def test_too_many_keys(self, bed: Site, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The agent offers its keys first; sshd cuts us off before the right one, as it does OpenSSH's own client."""
        for number in range(6):
            other = bed.folder / f"other-{number}"
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(other))
            other.chmod(0o600)
            add(agent, other)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        server = bed.start("one", MaxAuthTries="3")
        bed.configure("IdentitiesOnly no")
        error = await refusal(bed, to(server))
        assert (type(error), error.code) == (AuthenticationRefused, "ssh.too-many-keys")
        assert "6 of the SSH agent" in error.evidence
        assert "IdentitiesOnly" in error.remedy
        bed.configure("IdentitiesOnly yes")
        await bed.reach(to(server))
        await bed.reach(to(server, bed.key))

    async def test_an_agent_that_hangs_is_named(self, bed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        bed.configure("")
        server = bed.start("one")
        async with silent_agent(bed.folder / "silent") as path:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            error = await refusal(bed, to(server))
            assert (type(error), error.code) == (AuthenticationRefused, "ssh.agent")
            assert str(path) in error.evidence
            await bed.reach(to(server, bed.key))

    async def test_a_touch_that_does_not_come_is_said(self, bed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        """The agent asks a person before each use, and the person is away."""
        asks = bed.folder / "ask"
        asks.write_text("#!/bin/sh\nexec sleep 20\n")
        asks.chmod(0o755)
        monkeypatch.setenv("SSH_ASKPASS", str(asks))
        monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
        with own_agent(bed.folder / "asking") as path:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
            subprocess.run(("ssh-add", "-q", "-c", bed.key), check=True, stdin=subprocess.DEVNULL)  # noqa: ASYNC221
            encrypt(bed.key)
            bed.configure("")
            server = bed.start("one")
            error = await refusal(bed, to(server, bed.key), seconds=3.0)
        assert (type(error), error.code) == (AuthenticationRefused, "ssh.no-signature")
        assert "ConnectTimeout" in error.remedy

    async def test_an_agent_that_is_gone_is_passed_over(self, bed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(bed.folder / "gone"))
        server = bed.start("one")
        bed.configure("")
        await bed.reach(to(server))

    @pytest.mark.parametrize(
        "said", ["SSH_AUTH_SOCK", "$MY_AGENT", "${{MY_FOLDER}}/agent-{uid}", "{folder}/agent-%i", '"{folder}/agent-%i"']
    )
    async def test_every_way_to_name_an_agent(
        self, bed: Site, agent: Path, monkeypatch: pytest.MonkeyPatch, said: str
    ) -> None:
        add(agent, bed.key)
        encrypt(bed.key)
        if said == "SSH_AUTH_SOCK":
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        monkeypatch.setenv("MY_AGENT", str(agent))
        monkeypatch.setenv("MY_FOLDER", str(bed.folder))
        server = bed.start("one")
        bed.configure(f"IdentityAgent {said.format(folder=bed.folder, uid=os.getuid())}")
        await bed.reach(to(server))
        await bed.reach(to(server, bed.key))
        bed.configure("IdentityAgent none")
        assert (await refusal(bed, to(server))).code == "ssh.authentication"

    async def test_an_encrypted_key_needs_the_agent(
        self, bed: Site, agent: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = bed.start("one")
        bed.configure("")
        add(agent, bed.key)
        encrypt(bed.key)
        error = await refusal(bed, to(server, bed.key))
        assert error.code == "ssh.key-encrypted"
        assert error.remedy == f"ssh-add {bed.key}"
        assert f"{bed.key}: it is encrypted" in (await refusal(bed, to(server))).evidence
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        await bed.reach(to(server, bed.key))

    async def test_the_public_key_of_one_that_lies_in_the_agent_is_enough(
        self, bed: Site, agent: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        add(agent, bed.key)
        bed.key.unlink()
        server = bed.start("one")
        bed.configure(f"IdentityFile {bed.key}.pub")
        assert bed.openssh("-V").returncode == 0
        await bed.reach(to(server))
        await bed.reach(to(server, Path(f"{bed.key}.pub")))

    async def test_a_certificate_for_a_key_of_the_agent(
        self, bed: Site, agent: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        authority = asyncssh.generate_private_key("ssh-ed25519")
        authority.write_public_key(str(bed.folder / "authority"))
        certificate = authority.generate_user_certificate(
            asyncssh.read_public_key(f"{bed.key}.pub"), "me", principals=[USER]
        )
        certificate.write_certificate(str(bed.folder / "certificate"))
        add(agent, bed.key)
        encrypt(bed.key)
        server = bed.start("one", AuthorizedKeysFile="none", TrustedUserCAKeys=str(bed.folder / "authority"))
        bed.configure(f"CertificateFile {bed.folder}/certificate")
        await bed.reach(to(server))


class TestWhatTheHostRunsInstead:
    """Nothing of ours began: the host's words are told, and nobody is told to look how far it came."""

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (
                "echo This account runs backups only; exit 1",
                "This account runs backups only (it exited with status 1",
            ),
            ("echo nobody may log in here >&2; exit 0", "nobody may log in here (it exited with status 0"),
            ("exit 0", "it printed nothing (it exited with status 0"),
        ],
    )
    async def test_a_forced_command(self, bed: Site, command: str, words: str) -> None:
        server = bed.start("one", ForceCommand=command)
        bed.configure("")
        async with bed.opened(to(server)) as fleet:
            with pytest.raises(Pk3sError) as caught:
                await (await fleet.session("host-0")).call("facts")
        assert caught.value.code == "host.not-run"
        assert words in caught.value.evidence
        assert "ForceCommand" in caught.value.remedy
        assert "nothing was started" in caught.value.what

    async def test_one_that_waits_for_ever(self, bed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("productive_k3s_infra.hosts.wire.exchange.GRACE_SECONDS", 0.0)
        monkeypatch.setattr("productive_k3s_infra.hosts.wire.exchange._TRAVEL_SECONDS", 0.5)
        server = bed.start("one", ForceCommand="echo 'choose: 1) mail 2) news'; exec sleep 60")
        bed.configure("")
        async with bed.opened(to(server)) as fleet:
            with pytest.raises(Pk3sError) as caught:
                await (await fleet.session("host-0")).call("facts", deadline_seconds=5.0)
        assert caught.value.code == "host.not-run"
        assert "1) mail" in caught.value.evidence


class TestSessions:
    async def test_a_limit_of_sessions_is_waited_for(self, bed: Site) -> None:
        server = bed.start("one", MaxSessions="3")
        bed.configure("")
        async with bed.opened(to(server)) as fleet:
            session = await fleet.session("host-0")
            results = await asyncio.gather(*(session.call("probe", arguments=waiting()) for _ in range(8)))
        assert [result.outcome for result in results] == ["done"] * 8
        assert server.log.read_text().count("Accepted publickey") == 1

    async def test_no_session_at_all_is_said(self, bed: Site) -> None:
        server = bed.start("one", MaxSessions="0")
        bed.configure("")
        async with bed.opened(to(server)) as fleet:
            with pytest.raises(Pk3sError) as caught:
                await (await fleet.session("host-0")).call("facts")
        assert caught.value.code == "ssh.no-session"


def waiting() -> tuple[str, ...]:
    return ("--listen", f"tcp/{free_port()}", "--seconds", "1")


@asynccontextmanager
async def silent_agent(path: Path) -> AsyncIterator[Path]:
    """An agent that takes connections and says nothing."""
    hung_up = asyncio.Event()

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung_up.wait()
        writer.close()

    server = await asyncio.start_unix_server(hold, path)
    try:
        yield path
    finally:
        hung_up.set()
        server.close()
        await server.wait_closed()


def hardware_key() -> str:
    """Return a private key file as `ssh-keygen -t ed25519-sk` leaves it: a handle, and no secret."""

    def string(data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + data

    kind, application = string(b"sk-ssh-ed25519@openssh.com"), string(b"ssh:")
    public = kind + string(bytes(range(32))) + application
    private = struct.pack(">II", 7, 7) + public + b"\1" + string(b"handle") + string(b"") + string(b"a comment")
    private += bytes(range(1, 1 + -len(private) % 8))
    body = b"openssh-key-v1\0" + string(b"none") * 2 + string(b"") + struct.pack(">I", 1) + string(public)
    text = base64.b64encode(body + string(private)).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join(("-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""))
