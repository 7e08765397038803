"""Certificates shaped like K3s': ECDSA P-256, a self-signed CA without key identifiers, names in the extension only."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A CA: its key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )


def authority(name: str = "k3s-server-ca") -> Authority:
    """A CA without subject and authority key identifiers, as older releases of K3s make it."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, key_cert_sign=True, content_commitment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, name, key)
        .not_valid_before(NOW - 400 * DAY)
        .not_valid_after(NOW + 3650 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


@dataclass(frozen=True)
class Leaf:
    """What the API's certificate says."""

    names: tuple[str, ...] = ("kubernetes", "localhost", "127.0.0.1", "10.43.0.1")
    begins: dt.datetime = NOW - DAY
    ends: dt.datetime = NOW + 365 * DAY
    common_name: str = "k3s"


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@contextlib.contextmanager
def serving(ca: Authority, leaf: Leaf, folder: Path) -> Iterator[int]:
    """A TLS server on loopback with that certificate; yields its port, and is gone afterwards."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(leaf.common_name, "k3s-server-ca", key).not_valid_before(leaf.begins).not_valid_after(leaf.ends)
    if leaf.names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in leaf.names])
        builder = builder.add_extension(names, critical=False)
    signed = builder.sign(ca.key, hashes.SHA256())
    path = folder / "serving.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with listening() as (listener, port):
        thread = threading.Thread(target=_serve, args=(listener, context))
        thread.start()
        try:
            yield port
        finally:
            # Closing alone does not wake a thread that waits in accept.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=20)
            assert not thread.is_alive()


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            raw, _ = listener.accept()
        except OSError:
            return
        raw.settimeout(10)
        # A client that does not trust us breaks the handshake off, which is what some tests are about.
        with raw, contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
            tls.recv(1)


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, int]]:
    """A listening socket on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, listener.getsockname()[1]


def kubeconfig(ca: bytes, port: int, address: str = "127.0.0.1") -> dict[str, Any]:
    """A kubeconfig with a second, useless cluster before the current one."""
    authority_data = base64.b64encode(ca).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "other", "cluster": {"server": "https://192.0.2.1:1", "certificate-authority-data": "AAAA"}},
            {
                "name": "edge",
                "cluster": {"server": f"https://{address}:{port}", "certificate-authority-data": authority_data},
            },
        ],
        "contexts": [{"name": "edge-context", "context": {"cluster": "edge", "user": "edge"}}],
        "current-context": "edge-context",
    }
