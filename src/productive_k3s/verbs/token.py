"""`token`: the tokens of this server's cluster, in their secure form. One of two answers that carry secrets."""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure, refused
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host
from productive_k3s.k3s import paths


def no_server(what: str, path: str) -> Failure:
    """Return the failure of a verb that only a server can do."""
    return refused(
        "k3s.no-server", what, f"{path} is not there", "run this on a server of the cluster that has been started"
    )


async def run(host: Host) -> Result:
    """Return both tokens as Secrets: only the output unmasks them. Where K3s has one token, both are that one."""
    found = {}
    for name, path in (("agent", paths.CLUSTER_AGENT_TOKEN), ("server", paths.CLUSTER_SERVER_TOKEN)):
        text = await host.system.read(path)
        if text is None:
            return Result("refused", failures=(no_server("this host has no tokens of a cluster", path),))
        found[name] = Secret(text.decode(errors="replace").strip())
    return Result("done", data=found)
