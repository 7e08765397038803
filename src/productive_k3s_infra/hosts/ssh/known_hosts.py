"""The team's committed known_hosts: what a key looks like there, and adding one. `host_keys` asks what it says."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from productive_k3s_infra._files import explained
from productive_k3s_infra.errors import BadInput

_AREA = "known-hosts"


def name_of(address: str, port: int, *, is_alias: bool = False) -> str:
    """PURE: return what a host is called there, as sshd(8) wants it; a HostKeyAlias stands without a port."""
    return address if port == asyncssh.DEFAULT_PORT or is_alias else f"[{address}]:{port}"


def entry(address: str, port: int, key: str) -> str:
    """PURE: return a line for a host's public key ("ssh-ed25519 AAAA...")."""
    kind, body = key.split()[:2]
    return f"{name_of(address, port)} {kind} {body}"


def fingerprint(key: str) -> str:
    """PURE: return a public key's fingerprint as ssh-keygen prints it, or the text if it is no key."""
    try:
        return asyncssh.import_public_key(key).get_fingerprint()
    except asyncssh.KeyImportError:
        return key


def read(path: Path | None) -> str:
    """Return the file's text; a file that is not there has no keys. Raises BadInput if it cannot be read."""
    if path is None or not path.exists():
        return ""
    with explained(path, _AREA):
        data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            "the known_hosts file is not text", where=str(path), evidence=str(error), code=f"{_AREA}.invalid"
        ) from error


def append(path: Path, line: str) -> None:
    """Add a line to the file, which others may have edited meanwhile; a last line without an end is ended first."""
    text = read(path)
    start = "\n" if text and not text.endswith("\n") else ""
    with explained(path, _AREA), path.open("a", encoding="utf-8") as file:
        file.write(f"{start}{line}\n")
