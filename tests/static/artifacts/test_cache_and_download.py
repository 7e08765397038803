"""The cache's place, and downloads that are killed, redirected, or not to be trusted."""

from __future__ import annotations

import io
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.request import Request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from productive_k3s_infra.artifacts import download as module
from productive_k3s_infra.artifacts.cache import ReleaseCache, default_cache
from productive_k3s_infra.artifacts.download import download
from productive_k3s_infra.errors import BadInput, StepFailed
from static.artifacts.mirror import FILES, Mirror, digest, mirror


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with mirror() as one:
        yield one


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/home/ops"}, "/x/productive-k3s"),
        ({"XDG_CACHE_HOME": "x", "HOME": "/home/ops"}, "/home/ops/.cache/productive-k3s"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/ops"}, "/home/ops/.cache/productive-k3s"),
    ],
)
def test_it_lies_where_caches_lie(environment: dict[str, str], path: str) -> None:
    assert default_cache(environment) == Path(path)


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"HOME": "home"}])
def test_without_a_home_it_is_told(environment: dict[str, str]) -> None:
    with pytest.raises(BadInput) as caught:
        default_cache(environment)
    assert caught.value.code == "cache.home"


def test_the_cache_is_its_owners(tmp_path: Path) -> None:
    cache = ReleaseCache(tmp_path / "above" / "cache")
    cache.place("a" * 64, "k3s")
    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700


def test_a_file_where_the_cache_should_be_is_told_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(BadInput) as caught:
        ReleaseCache(tmp_path / "cache").place("a" * 64, "k3s")
    assert caught.value.code == "cache.not-a-directory"


def test_a_killed_download_leaves_no_file_under_its_name_and_the_next_cleans_up(served: Mirror, tmp_path: Path) -> None:
    target = tmp_path / "k3s"
    program = (
        "import os, pathlib, sys\n"
        "from productive_k3s_infra.artifacts.download import download\n"
        "def die(done, total): os.kill(os.getpid(), 9)\n"
        "download(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), die)\n"
    )
    command = [sys.executable, "-c", program, f"{served.url}/v1/k3s", digest(FILES["k3s"]), str(target)]
    assert subprocess.run(command, check=False, cwd="src", timeout=60).returncode == -9
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1
    download(f"{served.url}/v1/k3s", digest(FILES["k3s"]), target)
    assert target.read_bytes() == FILES["k3s"]
    assert list(tmp_path.iterdir()) == [target]


def test_the_bytes_are_counted(served: Mirror, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s", lambda *now: seen.append(now))
    size = len(FILES["k3s"])
    assert seen[-1] == (size, size)
    assert [done for done, _total in seen] == sorted(done for done, _total in seen)


def test_a_body_that_trickles_meets_its_deadline(
    served: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGE_SECONDS", -1.0)
    with pytest.raises(StepFailed) as caught:
        download(f"{served.url}/k3s", digest(FILES["k3s"]), tmp_path / "k3s")
    assert caught.value.code == "artifact.unreachable"
    assert "bytes in" in caught.value.evidence
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.05)
    monkeypatch.delenv("http_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/k3s"
        with pytest.raises(StepFailed) as caught:
            download(url, "a" * 64, tmp_path / "k3s")
    assert caught.value.code == "artifact.unreachable"
    assert "timed out" in caught.value.evidence


def _certificate(folder: Path) -> Path:
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


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    pem = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    target = tmp_path / "cache" / "k3s"
    target.parent.mkdir()
    with mirror(context) as served:
        with pytest.raises(StepFailed) as caught:
            download(f"{served.url}/k3s", digest(FILES["k3s"]), target)
        assert "certificate verify failed" in caught.value.evidence
        assert list(target.parent.iterdir()) == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))  # the way that the remedy names
        download(f"{served.url}/k3s", digest(FILES["k3s"]), target)
    assert target.read_bytes() == FILES["k3s"]


@pytest.mark.parametrize(
    ("first", "second", "followed"),
    [
        ("https://a/k3s", "https://b/k3s", True),
        ("http://a/k3s", "http://b/k3s", True),
        ("http://a/k3s", "https://b/k3s", True),
        ("https://a/k3s", "http://b/k3s?signature", False),
        ("https://a/k3s", "file:///etc/passwd", False),
    ],
)
def test_a_redirect_never_leaves_tls(first: str, second: str, followed: bool) -> None:
    redirects = module._SafeRedirects()
    if followed:
        request = redirects.redirect_request(Request(first), io.BytesIO(), 302, "", {}, second)
        assert request is not None
        assert request.full_url == second
    else:
        with pytest.raises(StepFailed) as caught:
            redirects.redirect_request(Request(first), io.BytesIO(), 302, "", {}, second)
        assert "signature" not in repr(vars(caught.value))
