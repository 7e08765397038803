"""The team's committed known_hosts: what a key looks like there, and adding one. What it says is asked in `ssh`."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

from productive_k3s_infra._files import explained
from productive_k3s_infra.errors import BadInput

_AREA = "known-hosts"
_SSH_PORT = 22


def entry(address: str, port: int, key: str) -> str:
    """PURE: return a line for a host's public key ("ssh-ed25519 AAAA..."), as sshd(8) wants it."""
    name = address if port == _SSH_PORT else f"[{address}]:{port}"
    kind, body = key.split()[:2]
    return f"{name} {kind} {body}"


def fingerprint(key: str) -> str:
    """PURE: return a public key's fingerprint as ssh-keygen prints it, or the text if it is no key."""
    try:
        digest = hashlib.sha256(base64.b64decode(key.split()[1], validate=True)).digest()
    except (IndexError, binascii.Error):
        return key
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


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
            "the known_hosts file is no text", where=str(path), evidence=str(error), code=f"{_AREA}.invalid"
        ) from error


def append(path: Path, line: str) -> None:
    """Add a line to the file, which others may have edited meanwhile; a last line without an end is ended first."""
    text = read(path)
    start = "\n" if text and not text.endswith("\n") else ""
    with explained(path, _AREA), path.open("a", encoding="utf-8") as file:
        file.write(f"{start}{line}\n")
