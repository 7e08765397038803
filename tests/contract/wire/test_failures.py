"""What a host or a file beside the cluster file is to blame for, each by its code and its place."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contract.wire.beds import LoopbackBed, loopback
from contract.wire.suite import CONTENT, in_pieces, stage
from productive_k3s_infra.errors import BadInput, HostUnreachable, Pk3sError
from productive_k3s_infra.inventory.model import Endpoint
from sshd_bed import USER, Site, site

pytestmark = pytest.mark.contract


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with site(tmp_path) as made:
        yield made


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[LoopbackBed]:
    async with loopback(tmp_path) as made:
        yield made


async def refusal(bed: Site, endpoint: Endpoint) -> Pk3sError:
    with pytest.raises(Pk3sError) as caught:
        await bed.reach(endpoint)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("option", "only"), [("Ciphers", "aes128-cbc"), ("KexAlgorithms", "diffie-hellman-group1-sha1")]
)
async def test_an_sshd_that_has_only_what_is_broken(bed: Site, option: str, only: str) -> None:
    """Switches and old images have. What it offers is named, so that its owner finds the line."""
    server = bed.start("one", **{option: only})
    bed.configure("")
    error = await refusal(bed, Endpoint(server.address, USER, server.port, None, (server.host_key,)))
    assert (type(error), error.code, error.where) == (HostUnreachable, "ssh.no-common-algorithm", "host-0")
    assert only in error.evidence


async def test_an_offer_with_the_end_of_the_connection_right_behind_it(tmp_path: Path) -> None:
    """On a busy computer both may be read in one go; then the SSH library tells of the end only."""
    ends = iter([True, True, False])
    offer = connection_init(ciphers=b"aes128-cbc")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_5.3\r\n" + offer)
        if not next(ends):
            await reader.read()
        writer.close()

    with site(tmp_path) as bed:
        bed.configure("")
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            error = await refusal(bed, Endpoint("127.0.0.1", USER, port, None, (bed.start("one").host_key,)))
    assert (error.code, error.where) == ("ssh.no-common-algorithm", "host-0")
    assert "aes128-cbc" in error.evidence
    assert next(ends, None) is None


def connection_init(ciphers: bytes) -> bytes:
    """Return the packet by which a server says what it can do (RFC 4253, sections 6 and 7.1), with these ciphers."""
    ours = [b"curve25519-sha256", b"ssh-ed25519", ciphers, ciphers, b"hmac-sha1", b"hmac-sha1", b"none", b"none"]
    names = b"".join(struct.pack(">I", len(name)) + name for name in [*ours, b"", b""])
    payload = b"\x14" + bytes(16) + names + bytes(5)
    padding = 8 - (len(payload) + 5) % 8 + 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


@pytest.mark.parametrize(
    "key", ["ssh-ed25519 AAAA", "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDmhw", "ssh_host_ed25519_key.pub"]
)
async def test_a_host_key_that_is_none(bed: Site, key: str) -> None:
    """Its hash, for example: it is what people see first of a key."""
    server = bed.start("one")
    bed.configure("")
    error = await refusal(bed, Endpoint(server.address, USER, server.port, None, (key,)))
    assert (type(error), error.code) == (BadInput, "ssh.host-key")
    assert str(server.port) in error.where
    assert key in error.evidence


@pytest.mark.parametrize("broken", ["node-1", "@revokd * ssh-ed25519 AAAA", "======="])
async def test_a_teams_file_with_a_broken_line(bed: Site, broken: str) -> None:
    """A merge that was not finished, for example. Nobody is asked to trust what the file may forbid."""
    server = bed.start("one")
    bed.configure("", knows="")
    bed.team.write_text(f"# of the team\n{server.known()}{broken}\n")
    error = await refusal(bed, Endpoint(server.address, USER, server.port))
    assert (type(error), error.code, error.where) == (BadInput, "known-hosts.invalid", f"{bed.team}:3")
    assert bed.answers.asked == []


async def test_a_file_where_the_program_is_kept(host: LoopbackBed, tmp_path: Path) -> None:
    (tmp_path / "lib" / "productive-k3s").write_text("somebody's")
    result = await host.session.call("stage", arguments=stage(), payload=in_pieces(CONTENT))
    assert [failure.code for failure in result.failures] == ["host.not-writable"]
    assert result.failures[0].evidence == "/usr/local/lib/productive-k3s: File exists"
    assert (tmp_path / "lib" / "productive-k3s").read_text() == "somebody's"
