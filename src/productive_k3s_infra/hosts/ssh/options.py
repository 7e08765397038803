"""How to log in: keys, the SSH agent, and what the person's OpenSSH configuration says, read as asyncssh reads it.

A keyword of that configuration which asyncssh does not know is ignored if the connection is as safe and goes to the
same place without it, and is an error otherwise.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import asyncssh
from asyncssh.config import ConfigParseError, SSHClientConfig, SSHConfig

from productive_k3s_infra.errors import AuthenticationRefused, BadInput
from productive_k3s_infra.inventory.model import Endpoint

# Fast first: asyncssh leaves GCM to OpenSSL in one call per packet; the others cost two.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
# ssh_config(5): they change where a connection goes, what proves a host or a user, or what is forbidden.
_NOT_HONOURED = (
    "BindInterface",
    "KnownHostsCommand",
    "ProxyUseFdpass",
    "PubkeyAcceptedAlgorithms",
    "PubkeyAcceptedKeyTypes",
    "RequiredRSASize",
    "RevokedHostKeys",
    "SecurityKeyProvider",
)


def _refuse(config: SSHClientConfig, option: str, args: list[str]) -> NoReturn:
    raise ConfigParseError(f"{config._path} line {config._line_no}: {option} {' '.join(args)} is not supported")  # noqa: SLF001 - as asyncssh's own handlers


class _Refusing(SSHClientConfig):
    """Reads a configuration as asyncssh does, and refuses keywords that match and cannot be honoured."""

    _handlers = SSHClientConfig._handlers | {name.lower(): (name, _refuse) for name in _NOT_HONOURED}  # noqa: SLF001 - the one place where asyncssh keeps its keywords


@dataclass(frozen=True)
class Login:
    """What asyncssh.connect is given for an endpoint, and in words which keys it tries."""

    options: Mapping[str, Any]
    keys: str


@asynccontextmanager
async def login_options(endpoint: Endpoint, where: str, ssh_config: tuple[Path, ...] | None) -> AsyncIterator[Login]:
    """Give the options for a login; an SSH agent that is needed stays open for the block.

    Raises BadInput for a configuration or key that cannot be used, AuthenticationRefused for an encrypted key that no
    agent holds.
    """
    files = _configuration() if ssh_config is None else ssh_config
    config = _read(files, endpoint, where)
    options: dict[str, Any] = {
        "username": endpoint.user,
        "config": [str(file) for file in files],
        "compression_algs": "none",
        "password_auth": False,
        "kbdint_auth": False,
        "agent_forwarding": False,
        "x11_forwarding": False,
    }
    if config.get("Ciphers") is None:
        options["encryption_algs"] = list(_CIPHERS)
    if endpoint.key is None:
        yield Login(options, "the SSH agent's and the usual keys")
        return
    path = Path(os.path.expanduser(endpoint.key))  # noqa: PTH111, ASYNC240 - no file is touched
    if not _is_encrypted(path, where):
        yield Login({**options, "client_keys": [str(path)], "agent_path": None}, f"the key {path}")
        return
    async with _agent_key(path, where, config.get("IdentityAgent")) as key:
        yield Login({**options, "client_keys": [key], "agent_path": None}, f"the key {path} of the SSH agent")


def _configuration() -> tuple[Path, ...]:
    path = Path("~/.ssh/config").expanduser()
    return (path,) if os.access(path, os.R_OK) else ()


def _read(files: tuple[Path, ...], endpoint: Endpoint, where: str) -> SSHConfig:
    try:
        return _Refusing.load(
            None, list(files), False, False, False, getpass.getuser(), endpoint.user, endpoint.address, endpoint.port
        )
    except (ConfigParseError, OSError) as error:
        raise BadInput(
            "the OpenSSH configuration cannot be honoured",
            where=where,
            evidence=str(error),
            remedy="remove the keyword for this host, or say in the cluster file how to reach it",
            code="ssh.config",
        ) from error


def _is_encrypted(path: Path, where: str) -> bool:
    try:
        asyncssh.read_private_key(str(path))
    except OSError as error:
        raise BadInput(
            "the private key cannot be read",
            where=where,
            evidence=f"{path}: {error.strerror}",
            remedy="correct `key`, or make the file readable for you only: chmod 600",
            code="ssh.key-unreadable",
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        if "assphrase" in str(error):
            return True
        raise BadInput(
            "the private key is no key",
            where=where,
            evidence=f"{path}: {error}",
            remedy="name the private key, not its .pub file",
            code="ssh.key-unusable",
        ) from error
    return False


@asynccontextmanager
async def _agent_key(path: Path, where: str, configured: object) -> AsyncIterator[asyncssh.SSHKeyPair]:
    """Give the agent's pair for an encrypted key, found by the public key beside it."""
    address = str(configured or os.environ.get("SSH_AUTH_SOCK", ""))
    try:
        public = asyncssh.read_public_key(f"{path}.pub").public_data
        agent = await asyncssh.connect_agent(address)
    except (OSError, asyncssh.KeyImportError, asyncssh.ChannelOpenError) as error:
        raise _encrypted(path, where, str(error)) from error
    async with agent:
        found = [key for key in await agent.get_keys() if key.public_data == public]
        if not found:
            raise _encrypted(path, where, "the SSH agent does not hold it")
        yield found[0]


def _encrypted(path: Path, where: str, evidence: str) -> AuthenticationRefused:
    return AuthenticationRefused(
        "the private key is encrypted, and the SSH agent cannot help",
        where=where,
        evidence=f"{path}: {evidence}",
        remedy=f"ssh-add {path}",
        code="ssh.key-encrypted",
    )
