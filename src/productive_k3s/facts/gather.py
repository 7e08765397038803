"""Everything that is true on this host, in one look that writes nothing."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional

from productive_k3s import __version__
from productive_k3s.contract.facts import ClusterFacts, Facts, K3sFacts
from productive_k3s.contract.failure import ContractError, system_failure
from productive_k3s.doors.host import ReadingHost
from productive_k3s.facts.host import host_facts
from productive_k3s.facts.k3s import k3s_facts
from productive_k3s.facts.units import ask_systemd
from productive_k3s.k3s import paths

# How a verb looks; a parameter so that tests can say what is found.
GatherFacts = Callable[[ReadingHost], Awaitable[Facts]]


async def gather(host: ReadingHost) -> Facts:
    """Return the facts of this host, and on a live server those of its cluster."""
    try:
        table = await ask_systemd(host.system)
        machine = await host_facts(host.system, table)
        k3s = await k3s_facts(host.system, table)
    except OSError as error:
        raise ContractError(system_failure(error)) from error
    return Facts(host=machine, k3s=k3s, cluster=await _cluster(host, k3s), program=__version__)


async def _cluster(host: ReadingHost, k3s: K3sFacts) -> Optional[ClusterFacts]:
    unit = next(iter(k3s.units), None)
    if k3s.role != "server" or unit is None or unit.active_state != "active":
        return None
    return await host.kube(paths.ADMIN_KUBECONFIG).cluster()
