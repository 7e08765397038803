"""HTTP(S) with the standard library: its modules are loaded late, as most runs speak to nobody."""

from __future__ import annotations

import hashlib
import socket
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, Optional

from productive_k3s.failure import ContractError, Failure
from productive_k3s.local_files import checksum_failure, replacing
from productive_k3s.system import Answer

_CHUNK_BYTES = 1 << 20
_BODY_LIMIT_BYTES = 4 << 20


def _context(ca: Optional[bytes]) -> ssl.SSLContext:
    """`ca` None: no verification; b"": the host's own trust; else these certificates, K3s' being without extensions."""
    if ca is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = ssl.create_default_context(cadata=ca.decode() if ca else None)
    if ca:
        # Python 3.13 verifies strictly and refuses CAs without key identifiers; K3s' CAs need not have them.
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context


def _open(url: str, ca: Optional[bytes], timeout: float) -> Any:
    handlers: list[Any] = [urllib.request.HTTPSHandler(context=_context(ca))]
    if ca != b"":
        # The cluster's own servers are never behind the proxy that leads to the internet.
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers).open(url, timeout=timeout)


def _unreachable(url: str, cause: object) -> ContractError:
    return ContractError(
        Failure("network.unreachable", f"{url} cannot be had", str(cause), "see the network, the proxy and the address")
    )


def download(url: str, path: str, sha256: str, mode: int, timeout: float) -> None:
    """See System.download. `timeout` bounds each silence, and so a connection that hangs."""
    digest = hashlib.sha256()
    try:
        with _open(url, b"", timeout) as answer, replacing(path, mode) as file:
            while True:
                chunk = answer.read(_CHUNK_BYTES)
                if not chunk:
                    break
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ContractError(checksum_failure(url, digest.hexdigest(), sha256))
    except urllib.error.HTTPError as error:
        error.close()
        raise _unreachable(url, f"HTTP status {error.code}") from error
    except (urllib.error.URLError, HTTPException, socket.timeout, ssl.SSLError) as error:
        raise _unreachable(url, getattr(error, "reason", error)) from error


def get(url: str, *, ca: Optional[bytes], timeout: float) -> Answer:
    """See System.get. A status that is no success is an answer too."""
    try:
        with _open(url, ca, timeout) as answer:
            return Answer(answer.status, answer.read(_BODY_LIMIT_BYTES))
    except urllib.error.HTTPError as error:
        # It is the answer, with its connection.
        with error:
            return Answer(error.code, error.read(_BODY_LIMIT_BYTES))
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise _unreachable(url, getattr(error, "reason", error)) from error
