"""The network as a simulated host sees it: pages that are there, ports on which somebody listens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.local_files import checksum_failure
from productive_k3s.doors.pace import GoingOn, nothing_ends_it
from productive_k3s.doors.system import HttpResponse, Port, RemotePort, require_proof
from productive_k3s_infra.rehearse.clock import Clock
from productive_k3s_infra.rehearse.files import MemoryFiles

_REFUSED = "[Errno 111] Connection refused"


class MemoryNetwork(MemoryFiles):
    """What a host can fetch and reach. Certificates are not simulated: a page is there, or nothing answers."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.now)
        self.clock = clock
        self.pages: dict[str, HttpResponse] = {}
        self.takes: dict[str, Collection[Secret]] = {}
        self.shown: list[tuple[str, Secret | None]] = []
        self.reachable: set[RemotePort] = set()
        self.taken: dict[Port, str] = {}
        self.asked_with: dict[str, dict[str, str]] = {}

    async def get(
        self,
        url: str,
        *,
        ca: bytes | None,
        timeout: float,  # noqa: ARG002, ASYNC109 - the door's
        authorization: Secret | None = None,
    ) -> HttpResponse:
        """See System. A page that has `takes` answers nobody else, as K3s does: 401, and 403 to whom shows nothing."""
        require_proof(url, ca, authorization)
        self.shown.append((url, authorization))
        if url in self.takes and authorization not in self.takes[url]:
            return HttpResponse(403, b"forbidden") if authorization is None else HttpResponse(401, b"not authorized")
        if url not in self.pages:
            raise ContractError(_unreachable(url, _REFUSED))
        return self.pages[url]

    async def download(
        self,
        url: str,
        path: str,
        sha256: str,
        mode: int,
        timeout: float,  # noqa: ASYNC109 - the door's
        *,
        environment: Mapping[str, str] | None = None,
        label: str = "",
        going_on: GoingOn = nothing_ends_it,
    ) -> None:
        """See System. `asked_with` remembers the variables, and so the proxy, of each download."""
        going_on()
        self.asked_with[url] = dict(environment or {})
        answer = await self.get(url, ca=b"", timeout=timeout)
        if answer.status >= 300:
            raise ContractError(_unreachable(url, f"HTTP status {answer.status}"))
        found = hashlib.sha256(answer.body).hexdigest()
        if found != sha256:
            raise ContractError(checksum_failure(url, found, sha256))
        await self.write(path, answer.body, mode, label=label)

    async def reach(self, places: Sequence[RemotePort], timeout: float) -> Mapping[RemotePort, str]:  # noqa: ASYNC109 - the door's
        """See System. What is not `reachable` refuses TCP and is silent on UDP, all at once on virtual time."""
        closed = {"tcp": _REFUSED, "udp": f"no echo within {timeout:g} s"}
        causes = {place: "" if place in self.reachable else closed[place.port.protocol] for place in places}
        if any(cause and place.port.protocol == "udp" for place, cause in causes.items()):
            await self.clock.sleep(timeout)
        return causes

    async def listen(
        self, ports: Sequence[Port], seconds: float, ready: Callable[[], None], stop: Callable[[], bool]
    ) -> Mapping[Port, str]:
        """See System."""
        ready()
        limit = self.clock.monotonic() + seconds
        while self.clock.monotonic() < limit and not stop():
            await self.clock.sleep(min(1.0, limit - self.clock.monotonic()))
        return {port: self.taken.get(port, "") for port in ports}


def _unreachable(url: str, cause: str) -> Failure:
    return Failure(
        "network.unreachable", f"{url} cannot be fetched", cause, "check the network, the proxy and the address"
    )
