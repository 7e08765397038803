"""The server that a host is about to join: whether it answers, is of the token's cluster, and takes the token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional
from urllib.parse import urlsplit

from productive_k3s.contract.failure import ContractError, Failure, refused
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.system import Reading
from productive_k3s.k3s.token import Token, authorization, ca_hash, parse_token, proven_ca

_SERVER_SECONDS = 10.0
# The user as whom a node of each role shows its token, whatever the token says (k3s-io/k3s, pkg/agent/run.go and
# pkg/cluster/bootstrap.go, WithUser).
_USERS: Mapping[str, str] = {"agent": "node", "server": "server"}
# What each of them alone may ask for (pkg/server/handlers/router.go): an agent's first question, and one of a server
# whose answer, unlike /v1-k3s/server-bootstrap, holds no key.
_QUESTIONS: Mapping[str, str] = {"agent": "/v1-k3s/config", "server": "/v1-k3s/encrypt/status"}
_REFUSALS = (401, 403)


async def join_veto(system: Reading, request: Request) -> Optional[Failure]:
    """Ask the server for its CA, and then whether it takes the token, before a join writes anything.

    An agent whose token is refused asks for ever, and a server is started again for ever (docs.k3s.io, cli/token: how a
    join is checked). The token is shown only to a server that has the CA that the token names; one that cannot say
    whether it takes it is no reason against a join.
    """
    if request.join is None or request.join.token is None:
        return None
    base = _with_address(request, request.join.server).rstrip("/")
    url = f"{base}/cacerts"
    try:
        answer = await system.get(url, ca=None, timeout=_SERVER_SECONDS)
    except ContractError as error:
        return _unreachable(request.join.server, error.failure.evidence or error.failure.what)
    except OSError as error:
        return _unreachable(request.join.server, str(error))
    if answer.status != 200:
        return _unreachable(request.join.server, f"{url} answered {answer.status}")
    token = parse_token(request.join.token.unmask())
    found = ca_hash(answer.body)
    if found == token.ca_hash:
        return await _token_veto(_Asked(system, base, proven_ca(answer.body), token), request.role, request.join.server)
    return refused(
        "k3s.ca-mismatch",
        f"the token does not belong to the cluster at {request.join.server}",
        f"its CA is {found[:12]}..., the token's is {token.ca_hash[:12]}...",
        "use the token of that server's cluster, or correct the server's address",
    )


@dataclass(frozen=True)
class _Asked:
    """A server whose CA is the one that the token names."""

    system: Reading
    base: str
    ca: bytes
    token: Token

    async def status_for(self, role: str) -> Optional[int]:
        """Return what it answers to whoever shows the token as a node of this role does; None: nothing."""
        return await self._status(_QUESTIONS[role], authorization(self.token, _USERS[role]))

    async def knows_all_tokens(self) -> bool:
        """Whether its API server is up; before it is, K3s knows no bootstrap token, and may refuse others too.

        Source: k3s-io/k3s, pkg/server/auth/auth.go, and APIServer in pkg/server/handlers.
        """
        return await self._status("/readyz", None) not in (None, 503)

    async def _status(self, path: str, shown: Optional[Secret]) -> Optional[int]:
        if not self.ca:
            return None
        try:
            answer = await self.system.get(
                f"{self.base}{path}", ca=self.ca, timeout=_SERVER_SECONDS, authorization=shown
            )
        except (ContractError, OSError):
            return None
        return answer.status


async def _token_veto(asked: _Asked, role: str, server: str) -> Optional[Failure]:
    status = await asked.status_for(role)
    if status not in _REFUSALS or not await asked.knows_all_tokens():
        return None
    other = "server" if role == "agent" else "agent"
    if asked.token.is_bootstrap:
        said = "it has expired or was deleted" if role == "agent" else "only agents can join with a bootstrap token"
    elif await asked.status_for(other) in (None, *_REFUSALS):
        said = "its CA matches the cluster, but its password does not"
    elif role == "agent":
        said = "it is the server token, and the cluster has a separate agent token"
    else:
        said = "it is the agent token, and servers join with the server token"
    return refused(
        "k3s.token-mismatch",
        f"the server {server} refuses this token, so nothing was changed here",
        f"{said}; {asked.base}{_QUESTIONS[role]} answered {status} to user {_USERS[role]}",
        f"use the cluster's {role} token: on a server, productive-k3s token",
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
        "check that K3s is running there, and that its port is reachable from this host",
    )
