"""A tiny Kubernetes API on the loopback, with certificates shaped like K3s': ECDSA, CAs without key identifiers."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A CA as K3s makes them."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    built = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(built.sign(key, hashes.SHA256()), key)


def leaf(issuer: Authority, name: str, *, server: bool, address: str = "127.0.0.1") -> tuple[bytes, bytes]:
    """Return certificate and key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    owner = issuer.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    built = _builder(name, str(owner), key).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if server:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        built = built.add_extension(names, critical=False)
    made = built.sign(issuer.key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    content_type: str
    document: Any
    client: str
    connection: int


Respond = Callable[[Asked], tuple[int, Any]]


class ApiServer(ThreadingHTTPServer):
    """Answers as `respond` says; requires a client certificate."""

    daemon_threads = False

    def __init__(self, folder: Path, *, address: str = "127.0.0.1") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.server_ca, self.client_ca = authority("k3s-server-ca@1"), authority("k3s-client-ca@1")
        self.asked: list[Asked] = []
        self.respond: Respond = lambda _: (404, {"kind": "Status", "message": "not found"})
        self.drop_next = False
        certificate, key = leaf(self.server_ca, "k3s", server=True, address=address)
        (folder / "serving.pem").write_bytes(certificate + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "serving.pem")
        context.load_verify_locations(cadata=self.client_ca.pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A client that does not trust us hangs up: that is what some tests want."""

    def kubeconfig(self, *, embedded: bool, ca: Authority | None = None) -> str:
        """Write a kubeconfig as k3s.yaml is (embedded), or as agent/kubelet.kubeconfig is."""
        certificate, key = leaf(self.client_ca, "system:node:node-1", server=False)
        parts = {
            "certificate-authority": (ca or self.server_ca).pem,
            "client-certificate": certificate,
            "client-key": key,
        }
        values: dict[str, str] = {}
        for name, pem in parts.items():
            if embedded:
                values[f"{name}-data"] = base64.b64encode(pem).decode()
            else:
                (self.folder / f"{name}.pem").write_bytes(pem)
                values[name] = f"{name}.pem" if name == "client-key" else str(self.folder / f"{name}.pem")
        cluster = {key: value for key, value in values.items() if "authority" in key}
        user = {key: value for key, value in values.items() if "client" in key}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "local", "cluster": {"server": f"https://127.0.0.1:{self.server_port}", **cluster}},
            ],
            "contexts": [{"name": "default", "context": {"cluster": "local", "user": "user"}}],
            "users": [{"name": "user", "user": user}],
            "current-context": "default",
        }
        path = self.folder / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump(document))
        return str(path)


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        peer = self.connection.getpeercert()  # type: ignore[attr-defined]
        client = dict(item[0] for item in peer["subject"])["commonName"]
        asked = Asked(
            self.command,
            self.path,
            self.headers.get("Content-Type", ""),
            json.loads(body) if body else None,
            client,
            self.client_address[1],
        )
        self.server.asked.append(asked)
        if self.server.drop_next:
            self.server.drop_next = False
            self.close_connection = True
            return
        status, document = self.server.respond(asked)
        data = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names are the library's

    def log_message(self, *_: object) -> None:
        """Say nothing."""
