"""Get files over HTTP: TLS verified, proxies honoured, every wait bounded; what broke off is gone on with.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` count as httpx reads them. The CAs are those of this computer,
or of `SSL_CERT_FILE`.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import certifi
import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from productive_k3s.contract.redaction import redact
from productive_k3s_infra._files import explained, new_file
from productive_k3s_infra.artifacts.cache import OnBytes
from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.plan.marks import counted

AREA = "cache"
_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 10.0
_STALL_SECONDS = 30.0
_SMALL_SECONDS = 120.0
_LARGE_SECONDS = 4 * 3600.0
_SMALL_BYTES = 1 << 20
# In a row without a byte more; each waits twice as long as the one before, or as long as the server asks for.
_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
# RFC 9110, section 15.6, and 429 of RFC 6585: the next time it may be otherwise.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Passing(Exception):
    """What may be otherwise the next time; `error` is what it is if not."""

    def __init__(self, error: StepFailed, wait_seconds: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_seconds = wait_seconds


@dataclass
class _Body:
    """What has arrived of a file, over all attempts. `validator` names the content that the next part has to be of."""

    url: str
    deadline: float
    write: Callable[[bytes], None]
    restart: Callable[[], None]
    done: int = 0
    total: int | None = None
    validator: str = ""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    gained_in: int = 0

    def begin_anew(self) -> None:
        self.restart()
        self.done, self.total, self.validator, self.digest = 0, None, "", hashlib.sha256()

    def add(self, chunk: bytes, attempt: int) -> None:
        self.write(chunk)
        self.digest.update(chunk)
        self.done += len(chunk)
        self.gained_in = attempt


def fetch_text(url: str) -> str:
    """Return a small text. Raises BadInput (`artifact.missing`) or StepFailed (`artifact.unreachable`)."""
    parts: list[bytes] = []
    body = _Body(url, time.monotonic() + _SMALL_SECONDS, parts.append, parts.clear)

    def not_too_long(done: int, _total: int | None) -> None:
        if done > _SMALL_BYTES:
            raise _unreachable(url, f"the answer is longer than {_SMALL_BYTES} bytes, so it is not a checksum file")

    _fetch(body, not_too_long)
    return b"".join(parts).decode("utf-8", "replace")


def download(url: str, sha256: str, target: Path, on_bytes: OnBytes = lambda _done, _total: None) -> None:
    """Put a file there that has this digest, or none at all.

    What breaks off is gone on with where it broke off (RFC 9110, section 14.2), if the server says it is the same file.
    Raises BadInput (`artifact.missing`), StepFailed (`artifact.unreachable`, `artifact.checksum`, `cache.no-space`).
    """
    with explained(target, AREA), new_file(target, 0o644) as file:
        body = _Body(url, time.monotonic() + _LARGE_SECONDS, _writing(file), lambda: _emptied(file))
        _fetch(body, on_bytes)
        if body.digest.hexdigest() != sha256:
            raise StepFailed(
                f"{target.name} does not match the release's checksum file",
                where=url,
                evidence=f"sha256 {body.digest.hexdigest()}, expected {sha256}, {body.done} bytes",
                remedy="nothing was kept; repair the mirror, or check what is between it and this computer",
                code="artifact.checksum",
            )


def _writing(file: BinaryIO) -> Callable[[bytes], None]:
    def write(chunk: bytes) -> None:
        file.write(chunk)

    return write


def _emptied(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _fetch(body: _Body, on_bytes: OnBytes) -> None:
    retrying = Retrying(
        retry=retry_if_exception_type(_Passing), stop=lambda state: _gives_up(state, body), wait=_wait, reraise=True
    )
    try:
        with _client(body.url) as client:
            for attempt in retrying:
                with attempt:
                    number = attempt.retry_state.attempt_number
                    _LOG.info("fetches %s, try %d", body.url, number)
                    _transfer(client, body, on_bytes, number)
    except _Passing as passing:
        tries = retrying.statistics.get("attempt_number", 1)
        raise _unreachable(body.url, f"{passing.error.evidence}; tried {counted(tries, 'time')}") from passing


def _gives_up(state: RetryCallState, body: _Body) -> bool:
    return state.attempt_number - body.gained_in >= _ATTEMPTS or time.monotonic() > body.deadline


def _wait(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome is not None else None
    asked = failure.wait_seconds if isinstance(failure, _Passing) else 0.0
    doubled = _FIRST_WAIT_SECONDS * 2.0 ** min(state.attempt_number - 1, _ATTEMPTS)
    return float(min(max(asked, doubled), _LONGEST_WAIT_SECONDS)) if _FIRST_WAIT_SECONDS else 0.0


def _transfer(client: httpx.Client, body: _Body, on_bytes: OnBytes, attempt: int) -> None:
    """Add what the server gives from where the body ends; raise _Passing when it ends early or stalls."""
    # Identity: a proxy that packs the body would break the length and the digest.
    headers = {"User-Agent": "productive-k3s-infra", "Accept-Encoding": "identity"}
    if body.done and body.validator:
        headers |= {"Range": f"bytes={body.done}-", "If-Range": body.validator}
    elif body.done:
        body.begin_anew()
    with _translated(body), client.stream("GET", body.url, headers=headers) as answer:
        _require_good(body, answer)
        if answer.status_code != httpx.codes.PARTIAL_CONTENT:
            if body.done:
                body.begin_anew()
            body.total = _length(answer)
            body.validator = _validator(answer)
        for chunk in answer.iter_raw():  # as they come: what is gathered first is lost when it breaks off
            body.add(chunk, attempt)
            on_bytes(body.done, body.total)
            if time.monotonic() > body.deadline:
                raise _unreachable(body.url, f"only {body.done} of {body.total or 'unknown'} bytes in time")
    if body.total is not None and body.done != body.total:
        found = f"the connection ended after {body.done} of {body.total} bytes"
        raise _Passing(_unreachable(body.url, found))


def _require_good(body: _Body, answer: httpx.Response) -> None:
    status = answer.status_code
    if status == httpx.codes.PARTIAL_CONTENT:
        if answer.headers.get("Content-Range", "").startswith(f"bytes {body.done}-"):
            return
        body.begin_anew()
        raise _Passing(_unreachable(body.url, "it sent a different part of the file than the one requested"))
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and body.done:
        body.begin_anew()
        raise _Passing(_unreachable(body.url, f"HTTP {status}"))
    if status == httpx.codes.OK:
        return
    if status in {404, 410}:
        raise BadInput(
            "the release has no such file",
            where=body.url,
            evidence=f"HTTP {status}",
            remedy="check whether the version in the cluster file exists, and whether the mirror has it",
            code="artifact.missing",
        )
    retry = answer.headers.get("Retry-After", "")
    error = _unreachable(body.url, f"HTTP {status}" + (f", retry after {retry}" if retry else ""))
    if status in _PASSING:
        raise _Passing(error, float(retry) if retry.isascii() and retry.isdigit() else 0.0)
    raise error


def _client(url: str) -> httpx.Client:
    def stay_in_tls(request: httpx.Request) -> None:
        # GitHub's downloads redirect. The target is not shown: addresses of downloads may carry a signature.
        allowed = {"https"} if url.startswith("https:") else {"http", "https"}
        if request.url.scheme not in allowed:
            raise _unreachable(url, f"it redirects from {url.partition(':')[0]} to {request.url.scheme}")

    try:
        return httpx.Client(
            verify=_authorities(),
            follow_redirects=True,
            timeout=httpx.Timeout(_STALL_SECONDS, connect=min(_CONNECT_SECONDS, _STALL_SECONDS)),
            event_hooks={"request": [stay_in_tls]},
        )
    except (ImportError, ValueError, OSError) as error:  # a proxy that is none, SOCKS without its package, no CA file
        raise _unreachable(url, _said(error)) from error


def _authorities() -> ssl.SSLContext:
    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    if places.cafile is None and places.capath is None:  # a Python that came without the system's CAs, as on macOS
        context.load_verify_locations(certifi.where())
    return context


@contextmanager
def _translated(body: _Body) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        after = f" after {body.done} bytes" if body.done else ""
        mapped = _unreachable(body.url, f"{_said(error)}{after}")
        if isinstance(error, httpx.TransportError) and not _is_lasting(error):
            raise _Passing(mapped) from error
        raise mapped from error


def _is_lasting(error: BaseException) -> bool:
    """Say whether it is the same the next time: another scheme, a certificate that does not prove the server."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError | httpx.UnsupportedProtocol):
            return True
        found = found.__cause__ or found.__context__
    return False


def _validator(answer: httpx.Response) -> str:
    """Return what If-Range takes (RFC 9110, section 13.1.5): a strong ETag, or else the date of the last change."""
    etag = str(answer.headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(answer.headers.get("Last-Modified", ""))


def _length(answer: httpx.Response) -> int | None:
    text = answer.headers.get("Content-Length", "")
    chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
    with suppress(ValueError):
        return None if chunked or not text.isascii() else int(text)
    return None


def _said(error: Exception) -> str:
    return redact(str(error) or type(error).__name__)


def _unreachable(url: str, evidence: str) -> StepFailed:
    return StepFailed(
        "this computer could not fetch a file of the K3s release",
        where=url,
        evidence=evidence,
        remedy="run it again when the network is back, or set spec.k3s.artifacts.source to a mirror's URL or to a "
        "directory <directory>/<version>/{k3s,sha256sum-<arch>.txt}; set a proxy "
        "with HTTPS_PROXY, a private CA with SSL_CERT_FILE",
        code="artifact.unreachable",
    )
