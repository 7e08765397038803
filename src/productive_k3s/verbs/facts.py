"""`facts`: what is true on this host; writes nothing."""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s.doors.host import Host
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts


async def run(host: Host, *, gather: GatherFacts = gather_facts) -> Result:
    """Return the facts."""
    return Result("done", facts=await gather(host))
