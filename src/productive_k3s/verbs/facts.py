"""`facts`: what is true on this host; writes nothing."""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s.doors.host import Host
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.plan import uninstall


async def run(host: Host, *, gather: GatherFacts = gather_facts) -> Result:
    """Return the facts, and say which cluster the host belongs to, as an uninstallation asks for it."""
    found = await gather(host)
    if not uninstall.has_something_to_lose(found):
        return Result("done", facts=found)
    return Result("done", notes=(f"this host belongs to {uninstall.cluster_in_words(found)}",), facts=found)
