"""The server that a host is about to join: whether it answers, and whether it is of the token's cluster."""

from __future__ import annotations

from typing import Optional
from urllib.parse import urlsplit

from productive_k3s.contract.failure import ContractError, Failure, refused
from productive_k3s.contract.request import Request
from productive_k3s.doors.system import Reading
from productive_k3s.k3s.token import ca_hash, parse_token

_SERVER_SECONDS = 10.0


async def join_veto(system: Reading, request: Request) -> Optional[Failure]:
    """Ask the server for its CA before a join writes anything (docs.k3s.io, cli/token: how a join is checked)."""
    if request.join is None or request.join.token is None:
        return None
    url = f"{_with_address(request, request.join.server).rstrip('/')}/cacerts"
    try:
        answer = await system.get(url, ca=None, timeout=_SERVER_SECONDS)
    except ContractError as error:
        return _unreachable(request.join.server, error.failure.evidence or error.failure.what)
    except OSError as error:
        return _unreachable(request.join.server, str(error))
    if answer.status != 200:
        return _unreachable(request.join.server, f"{url} answered {answer.status}")
    wanted = parse_token(request.join.token.unmask()).ca_hash
    found = ca_hash(answer.body)
    if found == wanted:
        return None
    return refused(
        "k3s.ca-mismatch",
        f"the cluster at {request.join.server} is not the token's",
        f"its CA is {found[:12]}..., the token's is {wanted[:12]}...",
        "use the token of that server's cluster, or correct the server's address",
    )


def _with_address(request: Request, server: str) -> str:
    """Return the URL with the address that this host is yet to be told of, where its name is one of the request's."""
    parts = urlsplit(server)
    name = parts.hostname or ""
    found = [entry.address for entry in request.hosts_file if name in map(str.lower, entry.names)]
    if not found:
        return server
    address = f"[{found[0]}]" if ":" in found[0] else found[0]
    return parts._replace(netloc=f"{address}:{parts.port or 443}").geturl()


def _unreachable(server: str, evidence: str) -> Failure:
    return refused(
        "k3s.unreachable-server",
        f"the server {server} does not answer, so nothing was changed here",
        evidence,
        "see that K3s runs there, and that its port is reachable from this host",
    )
