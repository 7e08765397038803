"""`kubeconfig`: this server's admin kubeconfig. One of two answers that carry secrets."""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host
from productive_k3s.k3s import paths
from productive_k3s.verbs.token import no_server


async def run(host: Host) -> Result:
    """Return the text of k3s.yaml as a Secret: only the output unmasks it. Its server is this host's loopback."""
    text = await host.system.read(paths.ADMIN_KUBECONFIG)
    if text is None:
        failure = no_server("this host has no admin kubeconfig", paths.ADMIN_KUBECONFIG)
        return Result("refused", failures=(failure,))
    return Result("done", data={"kubeconfig": Secret(text.decode(errors="replace"))})
