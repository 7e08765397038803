"""A mirror of K3s releases on the loopback, that can misbehave."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

VERSION = "v1.34.4+k3s1"
FILES = {
    "k3s": b"amd64 binary " * 1000,
    "k3s-arm64": b"arm64 binary " * 1000,
    "k3s-armhf": b"arm binary " * 1000,
    "k3s-airgap-images-amd64.tar": b"images " * 2000,
    "k3s-airgap-images-amd64.tar.zst": b"packed " * 500,
    "k3s-airgap-images-arm64.tar.gz": b"packed for arm64 " * 500,
}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def checksum_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the checksum files of a release with these assets, in the format of sha256sum."""
    of_arch = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}
    found = {}
    for arch, binary in of_arch.items():
        names = [name for name in files if name == binary or f"images-{arch}." in name]
        if names:
            lines = "".join(f"{digest(files[name])}  {name}\n" for name in names)
            found[f"sha256sum-{arch}.txt"] = lines.encode()
    return found


def release_directory(directory: Path, files: Mapping[str, bytes], version: str = VERSION) -> Path:
    """Write a release as a directory of this computer."""
    folder = directory / version
    folder.mkdir(parents=True)
    for name, content in (*files.items(), *checksum_files(files).items()):
        (folder / name).write_bytes(content)
    return folder


def certificate(folder: Path) -> Path:
    """Make a key and a certificate for 127.0.0.1 that only those trust who name it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirror")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    path = folder / "certificate.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
    return path


@dataclass
class Mirror:
    """`asked` are the paths that were asked for, `ranges` the parts (RFC 9110, section 14), '' for whole files.

    `answers` overrides what a name gets: a status, or a way to fail; `first` are those that it gets before, once each.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, str | int] = field(default_factory=dict)
    first: dict[str, list[str | int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)


@contextmanager
def mirror(tls: ssl.SSLContext | None = None) -> Iterator[Mirror]:
    """Serve the release for the time of the block, over TLS if asked."""
    served = Mirror(files={**FILES, **checksum_files(FILES)})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(self.path).rpartition("/")[2]
            served.asked.append(self.path)
            served.ranges.append(self.headers.get("Range", ""))
            first = served.first.get(name)
            answer = first.pop(0) if first else served.answers.get(name, "whole")
            content = served.files.get(name)
            if isinstance(answer, int) or content is None:
                self.send_error(answer if isinstance(answer, int) else 404)
                return
            if answer.startswith("to:"):
                self.send_response(302)
                self.send_header("Location", answer.removeprefix("to:"))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            etag = f'"{digest(content)}"'
            begin = 0
            if answer != "no-parts" and self.headers.get("If-Range") == etag:
                begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if begin else 200)
            if begin:
                told = 0 if answer == "other-part" else begin
                self.send_header("Content-Range", f"bytes {told}-{len(content) - 1}/{len(content)}")
            if answer != "no-parts":
                self.send_header("ETag", etag)
            if answer != "no-length":
                self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            rest = content[begin:]
            self.wfile.write(rest[: len(rest) // 2] if answer == "cut" else rest)

        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/k3s"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
