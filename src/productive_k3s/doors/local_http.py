"""HTTP(S) with the standard library: its modules are loaded late, as most runs speak to nobody."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import queue
import ssl
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, Iterator, Mapping, Optional, Union
from urllib.parse import urlsplit

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.local_files import checksum_failure, replacing
from productive_k3s.doors.pace import LOOK_SECONDS, SILENCE_SECONDS, Pace
from productive_k3s.doors.system import HttpResponse, require_proof

_CHUNK_BYTES = 1 << 20
_BODY_LIMIT_BYTES = 4 << 20
_WAITING_CHUNKS = 4


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


class _Proxies(urllib.request.ProxyHandler):
    """The proxies of given variables, asked anew for each redirection. NO_PROXY is understood as K3s understands it."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        found = {key.lower(): value for key, value in variables.items()}
        super().__init__({name: found[f"{name}_proxy"] for name in ("http", "https") if found.get(f"{name}_proxy")})
        self._direct = found.get("no_proxy", "")

    def proxy_open(self, req: Any, proxy: str, type: str) -> Any:  # noqa: A002 - the name that urllib calls it by
        """Leave the request to the next handler where its host is reached directly."""
        return None if is_direct(req.host, self._direct) else super().proxy_open(req, proxy, type)


def is_direct(host: str, no_proxy: str) -> bool:
    """PURE: whether NO_PROXY names this host[:port]: an address, a network, a domain with all below it, or `*`."""
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    try:
        address: Optional[ipaddress._BaseAddress] = ipaddress.ip_address(name)
    except ValueError:
        address = None
    for entry in (item.strip().lower() for item in no_proxy.split(",")):
        if entry == "*":
            return True
        if address is None:
            domain = entry.rpartition(":")[0] if entry.rpartition(":")[2].isdigit() else entry
            bare = domain.lstrip("*").lstrip(".")
            if bare and ((name == bare and not domain.startswith(".")) or name.endswith(f".{bare}")):
                return True
        elif _holds(entry, address):
            return True
    return False


def _holds(entry: str, address: Any) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _open(
    url: str,
    ca: Optional[bytes],
    timeout: float,
    variables: Optional[Mapping[str, str]] = None,
    authorization: Optional[Secret] = None,
) -> Any:
    handlers: list[Any] = [urllib.request.HTTPSHandler(context=_context(ca))]
    if ca != b"":
        # The cluster's own servers are never behind the proxy that leads to the internet.
        handlers.append(urllib.request.ProxyHandler({}))
    elif any(key.lower() in ("http_proxy", "https_proxy") for key in variables or {}):
        handlers.append(_Proxies(variables or {}))
    asked = urllib.request.Request(url)  # noqa: S310 - as it was asked for; the opener knows HTTP(S) alone
    if authorization is not None:
        # A redirection would take an ordinary header along to whomever it names.
        asked.add_unredirected_header("Authorization", authorization.unmask())
    return urllib.request.build_opener(*handlers).open(asked, timeout=timeout)


def _unreachable(url: str, cause: object) -> ContractError:
    return ContractError(
        Failure(
            "network.unreachable",
            f"{url} cannot be fetched",
            str(cause),
            "check the network, the proxy and the address",
        )
    )


def download(  # noqa: PLR0917 - the arguments of System.download
    url: str,
    path: str,
    sha256: str,
    mode: int,
    pace: Pace,
    variables: Mapping[str, str],
    label: str = "",
) -> None:
    """See System.download."""
    digest = hashlib.sha256()
    with replacing(path, mode, label=label) as file:
        for chunk in _body(url, variables, pace):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != sha256:
            raise ContractError(checksum_failure(url, digest.hexdigest(), sha256))


def _body(url: str, variables: Mapping[str, str], pace: Pace) -> Iterator[bytes]:
    """Yield what comes, as it comes, or raise a ContractError.

    A thread waits for the network: names that are not resolved, connections that hang and servers that are silent are
    all deaf to signals, and whoever waits for the thread is not.
    """
    arrived: queue.Queue[Union[bytes, Exception]] = queue.Queue(_WAITING_CHUNKS)
    over = threading.Event()
    threading.Thread(target=_fetch, args=(url, variables, arrived, over), daemon=True).start()
    try:
        while True:
            try:
                item = arrived.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                pace.look()
                continue
            if isinstance(item, Exception):
                raise item
            if not item:
                return
            pace.came(len(item))
            yield item
    finally:
        over.set()


def _fetch(
    url: str, variables: Mapping[str, str], arrived: queue.Queue[Union[bytes, Exception]], over: threading.Event
) -> None:
    def put(item: Union[bytes, Exception]) -> None:
        while not over.is_set():
            with contextlib.suppress(queue.Full):
                arrived.put(item, timeout=LOOK_SECONDS)
                return

    try:
        with _open(url, b"", SILENCE_SECONDS, variables) as answer:
            while not over.is_set():
                chunk = answer.read1(_CHUNK_BYTES)
                put(chunk)
                if not chunk:
                    return
    except urllib.error.HTTPError as error:
        error.close()
        put(_unreachable(url, f"HTTP status {error.code}"))
    except (urllib.error.URLError, HTTPException, OSError) as error:
        put(_unreachable(url, getattr(error, "reason", error)))
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits has to know
        put(error)


def get(url: str, *, ca: Optional[bytes], timeout: float, authorization: Optional[Secret] = None) -> HttpResponse:
    """See Reading.get. A status that is no success is an answer too."""
    require_proof(url, ca, authorization)
    answered: queue.Queue[Union[HttpResponse, Exception]] = queue.Queue(1)

    def ask() -> None:
        try:
            answered.put(_get(url, ca, timeout, authorization))
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits has to know
            answered.put(error)

    # A thread, so that an answer that trickles is not waited for longer than one that does not come.
    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answered.get(timeout=timeout)
    except queue.Empty:
        raise _unreachable(url, f"no answer within {timeout:g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _get(url: str, ca: Optional[bytes], timeout: float, authorization: Optional[Secret]) -> HttpResponse:
    try:
        with _open(url, ca, timeout, authorization=authorization) as answer:
            return HttpResponse(answer.status, answer.read(_BODY_LIMIT_BYTES))
    except urllib.error.HTTPError as error:
        # It is the answer, with its connection.
        with error:
            return HttpResponse(error.code, error.read(_BODY_LIMIT_BYTES))
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise _unreachable(url, getattr(error, "reason", error)) from error
