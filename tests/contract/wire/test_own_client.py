"""`pk3s ssh`: a real OpenSSH logs in to a real sshd with the words that pk3s gives, and believes no other host key."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.hosts.ssh.own_client import own_client
from productive_k3s_infra.inventory.model import Endpoint
from sshd_bed import USER, Site, site

pytestmark = pytest.mark.contract


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with site(tmp_path) as made:
        odd(made).mkdir()
        shutil.copy(made.key, odd_key(made))
        made.config.write_text("Host *\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none\n")
        yield made


def odd(bed: Site) -> Path:
    """Return a folder with blanks and what looks like tokens of ssh_config(5)."""
    return bed.folder / "a folder, 100%d"


def odd_key(bed: Site) -> Path:
    return odd(bed) / "id"


def team(bed: Site) -> Path:
    return odd(bed) / "known_hosts"


async def login(bed: Site, endpoint: Endpoint, command: str = "echo in") -> subprocess.CompletedProcess[str]:
    file = odd(bed) / "known by pk3s"
    made = await own_client(
        endpoint, "agent-1", openssh=OpenSsh(str(bed.config)), team=team(bed), known_file=file, alias="edge-agent-1"
    )
    file.write_text(made.known_hosts)
    words = (*made.words, "--", command)
    return await asyncio.to_thread(
        subprocess.run, words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )


def other_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


async def test_with_the_key_and_the_host_key_of_the_cluster_file(bed: Site) -> None:
    server = bed.start("one")
    there = Endpoint(server.address, USER, server.port, str(odd_key(bed)), (server.host_key,))
    done = await login(bed, there)
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    assert (await login(bed, there, "exit 7")).returncode == 7


async def test_another_host_key_is_not_believed(bed: Site) -> None:
    server = bed.start("one")
    done = await login(bed, Endpoint(server.address, USER, server.port, str(odd_key(bed)), (other_key(),)))
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


async def test_what_the_team_knows_proves_the_host(bed: Site) -> None:
    server = bed.start("one")
    there = Endpoint(server.address, USER, server.port, str(odd_key(bed)))
    team(bed).write_text(server.known())
    assert (await login(bed, there)).returncode == 0
    team(bed).write_text(f"[{server.address}]:{server.port} {other_key()}\n")
    assert (await login(bed, there)).returncode == 255


async def test_an_unknown_host_is_not_believed_where_nobody_can_be_asked(bed: Site) -> None:
    server = bed.start("one")
    done = await login(bed, Endpoint(server.address, USER, server.port, str(odd_key(bed))))
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr
    assert not team(bed).exists()


async def test_through_a_jump_host_of_the_cluster_file(bed: Site) -> None:
    gate, inner = bed.start("gate"), bed.start("inner", "127.0.0.2")
    jump = Endpoint(gate.address, USER, gate.port, str(odd_key(bed)), (gate.host_key,))
    there = Endpoint(inner.address, USER, inner.port, str(odd_key(bed)), (inner.host_key,), jump)
    done = await login(bed, there, "echo $SSH_CONNECTION")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[2] == "127.0.0.2"
    false = Endpoint(gate.address, USER, gate.port, str(odd_key(bed)), (other_key(),))
    done = await login(bed, Endpoint(inner.address, USER, inner.port, str(odd_key(bed)), (inner.host_key,), false))
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


async def test_the_persons_own_configuration_counts_for_the_address(bed: Site) -> None:
    server = bed.start("one")
    bed.config.write_text(
        f'Host edge.example\n  HostName {server.address}\n  IdentityFile "{str(odd_key(bed)).replace("%", "%%")}"\n'
        "Host *\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none\n"
    )
    done = await login(bed, Endpoint("edge.example", USER, server.port, host_keys=(server.host_key,)))
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
