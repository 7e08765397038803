"""Private keys in files: what one is good for, without asking for a passphrase."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

_RSA = b"\0\0\0\x07ssh-rsa"
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True)
class KeyFile:
    """A file that was named as a key.

    `pairs` are what can be offered, a certificate's before the bare key's. Where there are none, `problem` says why,
    and `public` is the public key of what an SSH agent may hold instead.
    """

    path: Path
    pairs: tuple[asyncssh.SSHKeyPair, ...] = ()
    public: bytes | None = None
    problem: str = ""
    kind: str = ""


def read_key(path: Path) -> KeyFile:
    """Read a private key, or the public key of one that lies elsewhere; never raises for what the file is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return KeyFile(path, problem=str(error.strerror), kind="unreadable")
    public = _public_half(path, data)
    if b"PRIVATE KEY-----" in data and _is_open_to_others(path):
        problem = "others can read it, so pk3s does not use it, and neither does OpenSSH: chmod 600"
        return KeyFile(path, public=public, problem=problem, kind="unreadable")
    try:
        pairs: Sequence[asyncssh.SSHKeyPair] = asyncssh.load_keypairs(str(path))
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        if "assphrase" in str(error):
            return KeyFile(path, public=public, problem="it is encrypted", kind="encrypted")
        if public is not None:
            return KeyFile(path, public=public, problem="it is the public key only", kind="public")
        return KeyFile(path, problem=str(error), kind="unusable")
    if _needs_hardware(pairs) and importlib.util.find_spec("fido2") is None:
        problem = "it is on a hardware key, and Python's fido2, which is needed to use it, is not installed here"
        return KeyFile(path, public=public or pairs[-1].key_public_data, problem=problem, kind="hardware")
    return KeyFile(path, tuple(pairs), public or pairs[-1].key_public_data)


def _is_open_to_others(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == os.getuid() and found.st_mode & 0o077 != 0


def read_certificate(path: Path) -> asyncssh.SSHCertificate | None:
    """Return the certificate in a file; None if it is not there or is none, as OpenSSH goes on without it."""
    try:
        return asyncssh.read_certificate(str(path))
    except (OSError, asyncssh.KeyImportError, ValueError):
        return None


def rsa_bits(public: bytes) -> int:
    """Return how long an RSA key is, 0 for a key of another kind."""
    if not public.startswith(_RSA):
        return 0
    key = load_ssh_public_key(b"ssh-rsa " + base64.b64encode(public))
    return key.key_size if isinstance(key, RSAPublicKey) else 0


def _needs_hardware(pairs: Sequence[asyncssh.SSHKeyPair]) -> bool:
    return any(pair.algorithm.startswith((b"sk-", b"webauthn-")) for pair in pairs)


def _public_half(path: Path, data: bytes) -> bytes | None:
    """Return the public key: it stands in the file itself, else beside it."""
    if data.lstrip().startswith(_OPENSSH):
        return _inside(data)
    for text in (data, _beside(path)):
        try:
            return asyncssh.import_public_key(text).public_data
        except (asyncssh.KeyImportError, ValueError):
            continue
    return None


def _beside(path: Path) -> bytes:
    try:
        return Path(f"{path}.pub").read_bytes()
    except OSError:
        return b""


def _inside(data: bytes) -> bytes | None:
    """Return the public key of OpenSSH's format, which is never encrypted (PROTOCOL.key of OpenSSH)."""
    body = b"".join(line for line in data.splitlines() if line and not line.startswith(b"-----"))
    try:
        rest = base64.b64decode(body)
        if not rest.startswith(_MAGIC):
            return None
        rest = rest[len(_MAGIC) :]
        for _ in ("cipher", "kdf", "options of the kdf"):
            rest = _string(rest)[1]
        return _string(rest[4:])[0]
    except (binascii.Error, struct.error):
        return None


def _string(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", data)
    return data[4 : 4 + length], data[4 + length :]
