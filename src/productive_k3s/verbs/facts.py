"""`facts`: what is true on this host; writes nothing."""

from __future__ import annotations

from productive_k3s.apply import GatherFacts
from productive_k3s.events import Result
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.host import Host


async def run(host: Host, *, gather: GatherFacts = gather_facts) -> Result:
    """Return the facts."""
    return Result("done", facts=await gather(host))
