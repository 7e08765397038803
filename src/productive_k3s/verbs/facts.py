"""`facts`: what is true on this host; writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from productive_k3s.events import Result
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.host import Host

if TYPE_CHECKING:
    from productive_k3s.apply import GatherFacts


async def run(host: Host, *, gather: GatherFacts = gather_facts) -> Result:
    """Return the facts."""
    return Result("done", facts=await gather(host))
