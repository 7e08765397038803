"""The real door to the network: HTTP(S), and ports."""

from __future__ import annotations

from typing import Mapping, Optional

from productive_k3s.contract.secret import Secret
from productive_k3s.doors.local_ports import LocalPorts
from productive_k3s.doors.pace import GoingOn, Pace, nothing_ends_it
from productive_k3s.doors.system import HttpResponse


class LocalNetwork(LocalPorts):
    """The network as this host sees it."""

    async def download(
        self,
        url: str,
        path: str,
        sha256: str,
        mode: int,
        timeout: float,
        *,
        environment: Optional[Mapping[str, str]] = None,
        label: str = "",
        going_on: GoingOn = nothing_ends_it,
    ) -> None:
        """See System."""
        from productive_k3s.doors import local_http

        pace = Pace(url, timeout, going_on)
        local_http.download(url, path, sha256, mode, pace, environment or {}, label)

    async def get(
        self, url: str, *, ca: Optional[bytes], timeout: float, authorization: Optional[Secret] = None
    ) -> HttpResponse:
        """See System. A status that is no success is an answer too."""
        from productive_k3s.doors import local_http

        return local_http.get(url, ca=ca, timeout=timeout, authorization=authorization)
