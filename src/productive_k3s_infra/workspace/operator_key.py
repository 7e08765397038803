"""The key pair with which pk3s enters the machines that it made itself; one per cluster directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.workspace.directory import AREA, Workspace, open_workspace


@dataclass(frozen=True)
class OperatorKey:
    """Where the private key lies (OpenSSH's format, 0600), and the public one as a line for authorized_keys."""

    path: Path
    public_text: str


def ensure_operator_key(workspace: Workspace) -> OperatorKey:
    """Return the cluster's key pair, made at the first call. An existing file is never replaced, even a broken one."""
    open_workspace(workspace.cluster_file, workspace.cluster)
    path = workspace.operator_key
    with explained(path, AREA):
        content = path.read_bytes() if path.exists() else None
        key = Ed25519PrivateKey.generate() if content is None else _load(content, path)
        if content is None:
            content = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        replace_file(path, content, 0o600)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        text = f"{public} pk3s-{workspace.cluster}"
        replace_file(path.with_name(path.name + ".pub"), f"{text}\n".encode(), 0o644)
    return OperatorKey(path, text)


def _load(content: bytes, path: Path) -> Ed25519PrivateKey:
    try:
        key = load_ssh_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(
            "the key for this cluster's machines is broken",
            where=str(path),
            evidence="it is not an ed25519 key in OpenSSH's format without a passphrase",
            remedy="put the right file back; without it, destroy the machines, remove the file and apply again",
            code="workspace.key",
        )
    return key
