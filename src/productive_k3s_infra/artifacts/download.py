"""Get files over HTTP with the standard library: TLS verified, every wait bounded, each cause told."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Any

from productive_k3s_infra._files import explained, new_file
from productive_k3s_infra.artifacts.cache import OnBytes
from productive_k3s_infra.errors import BadInput, Pk3sError, StepFailed

AREA = "cache"
_STALL_SECONDS = 30.0
_SMALL_SECONDS = 60.0
_LARGE_SECONDS = 3600.0
_SMALL_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 18


def fetch_text(url: str) -> str:
    """Return a small text. Raises BadInput (`artifact.missing`) or StepFailed (`artifact.unreachable`)."""
    parts = []
    size = 0
    with _open(url) as answer:
        for chunk in _chunks(answer, url, _SMALL_SECONDS):
            size += len(chunk)
            if size > _SMALL_BYTES:
                raise _unreachable(url, f"the answer is longer than {_SMALL_BYTES} bytes, so it is no checksum file")
            parts.append(chunk)
    return b"".join(parts).decode("utf-8", "replace")


def download(url: str, sha256: str, target: Path, on_bytes: OnBytes = lambda _done, _total: None) -> None:
    """Put a file there that has this digest, or none at all.

    Raises BadInput (`artifact.missing`), StepFailed (`artifact.unreachable`, `artifact.checksum`, `cache.no-space`).
    """
    digest = hashlib.sha256()
    done = 0
    with explained(target, AREA), new_file(target, 0o644) as file:
        with _open(url) as answer:
            total = _length(answer)
            for chunk in _chunks(answer, url, _LARGE_SECONDS):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                on_bytes(done, total)
        if digest.hexdigest() != sha256:
            raise StepFailed(
                f"{target.name} is not what the release's checksum file says",
                where=url,
                evidence=f"sha256 {digest.hexdigest()}, expected {sha256}, {done} bytes",
                remedy="nothing was kept; mend the mirror, or see what lies between it and this computer",
                code="artifact.checksum",
            )


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects (GitHub's downloads need it), never from TLS to plain HTTP or to another scheme."""

    def redirect_request(  # noqa: PLR0917 - urllib's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        allowed = ("https://",) if req.type == "https" else ("http://", "https://")
        if not newurl.startswith(allowed):
            fp.close()
            # The target is not shown: addresses of downloads may carry a signature.
            raise _unreachable(req.full_url, f"it redirects from {req.type} to {urllib.parse.urlsplit(newurl).scheme}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Only HTTP: build_opener would also open file: and ftp: addresses. Proxies come from the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        _SafeRedirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


@contextmanager
def _open(url: str) -> Iterator[http.client.HTTPResponse]:
    # Identity: a proxy that packs the body would break the length and the digest.
    headers = {"User-Agent": "productive-k3s-infra", "Accept-Encoding": "identity"}
    try:
        answer = _opener().open(urllib.request.Request(url, headers=headers), timeout=_STALL_SECONDS)  # noqa: S310 - HTTP only
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(url, error.code, error.headers) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise _unreachable(url, str(getattr(error, "reason", "") or _said(error))) from error
    with answer:
        yield answer


def _chunks(answer: http.client.HTTPResponse, url: str, deadline_seconds: float) -> Iterator[bytes]:
    """Yield the body; raise StepFailed when it ends early, stalls, or takes longer than the deadline."""
    total = _length(answer)
    done = 0
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            chunk = answer.read1(_CHUNK_BYTES)
        except (http.client.HTTPException, OSError) as error:
            raise _unreachable(url, f"{_said(error)} after {done} bytes") from error
        if not chunk:
            break
        done += len(chunk)
        yield chunk
        if time.monotonic() > deadline:
            raise _unreachable(url, f"only {done} of {total or 'unknown'} bytes in {deadline_seconds:g} s")
    if total is not None and done != total:
        raise _unreachable(url, f"the connection ended after {done} of {total} bytes")


def _length(answer: http.client.HTTPResponse) -> int | None:
    text = answer.headers.get("Content-Length", "")
    chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
    return int(text) if text.isascii() and text.isdigit() and not chunked else None


def _refused(url: str, status: int, headers: Message) -> Pk3sError:
    if status in {404, 410}:
        return BadInput(
            "the release has no such file",
            where=url,
            evidence=f"HTTP {status}",
            remedy="see whether the version in the cluster file exists, and whether the mirror has it",
            code="artifact.missing",
        )
    retry = headers.get("Retry-After")
    return _unreachable(url, f"HTTP {status}" + (f", retry after {retry}" if retry else ""))


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _unreachable(url: str, evidence: str) -> StepFailed:
    return StepFailed(
        "this computer could not fetch a file of the K3s release",
        where=url,
        evidence=evidence,
        remedy="run it again when the network is back, or set spec.k3s.artifacts.source to a mirror's URL or to a "
        "directory <directory>/<version>/{k3s,sha256sum-<arch>.txt}; a proxy comes from HTTPS_PROXY, "
        "a private CA from SSL_CERT_FILE",
        code="artifact.unreachable",
    )
