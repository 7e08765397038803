"""How to log in, from the cluster file and the person's OpenSSH configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from productive_k3s_infra.errors import AuthenticationRefused, BadInput
from productive_k3s_infra.hosts.ssh.options import Login, login_options
from productive_k3s_infra.inventory.model import Endpoint


async def login(endpoint: Endpoint, *files: Path) -> Login:
    async with login_options(endpoint, "node-1", files) as found:
        return found


def endpoint(key: Path | None = None) -> Endpoint:
    return Endpoint("node.example", "ops", 22, None if key is None else str(key))


async def test_the_users_configuration_is_used(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host node.example\n  Ciphers aes256-ctr\nHost other\n  KnownHostsCommand x\n  ControlMaster yes\n"
    )
    found = await login(endpoint(), config)
    assert found.options["config"] == [str(config)]
    assert "encryption_algs" not in found.options
    assert "encryption_algs" in (await login(endpoint())).options
    options = asyncssh.SSHClientConnectionOptions(host="node.example", **found.options)
    assert options.encryption_algs == [b"aes256-ctr"]


@pytest.mark.parametrize("line", ["KnownHostsCommand /bin/x %H", "RevokedHostKeys /x", "bindinterface eth7"])
async def test_a_keyword_that_cannot_be_honoured_is_an_error(tmp_path: Path, line: str) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *.example\n  ControlMaster auto\n  {line}\n")
    with pytest.raises(BadInput) as caught:
        await login(endpoint(), config)
    assert caught.value.code == "ssh.config"
    assert f"{config} line 3" in caught.value.evidence
    assert line.partition(" ")[0].lower() in caught.value.evidence.lower()


async def test_only_the_named_key_is_used(tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "key"))
    found = await login(endpoint(tmp_path / "key"))
    assert found.options["client_keys"] == [str(tmp_path / "key")]
    assert found.options["agent_path"] is None
    assert "client_keys" not in (await login(endpoint())).options


async def test_a_key_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        await login(endpoint(tmp_path / "none"))
    assert caught.value.code == "ssh.key-unreadable"
    (tmp_path / "public").write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_public_key())
    with pytest.raises(BadInput) as caught:
        await login(endpoint(tmp_path / "public"))
    assert caught.value.code == "ssh.key-unusable"


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", tmp_path / "key")
    subprocess.run(words, check=True)
    return tmp_path / "key"


@pytest.fixture
def agent(encrypted: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An SSH agent that holds the key; its passphrase is given as a person's tool would."""
    ask, address = encrypted.with_name("ask"), encrypted.with_name("agent")
    ask.write_text("#!/bin/sh\necho a passphrase\n")
    ask.chmod(0o755)
    process = subprocess.Popen(("ssh-agent", "-D", "-a", address), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it says where it listens, once it does
        monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
        how = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(("ssh-add", "-q", encrypted), env=how, check=True, stdin=subprocess.DEVNULL)
        yield encrypted
    finally:
        process.terminate()
        process.communicate()


async def test_an_encrypted_key_needs_the_agent(encrypted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(AuthenticationRefused) as caught:
        await login(endpoint(encrypted))
    assert caught.value.code == "ssh.key-encrypted"
    assert str(encrypted) in caught.value.remedy


async def test_the_agent_gives_an_encrypted_key(agent: Path) -> None:
    (key,) = (await login(endpoint(agent))).options["client_keys"]
    assert key.public_data == asyncssh.read_public_key(f"{agent}.pub").public_data
    agent.with_name("key.pub").write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_public_key())
    with pytest.raises(AuthenticationRefused) as caught:
        await login(endpoint(agent))
    assert "does not hold it" in caught.value.evidence
