"""`facts`: what is true on this host; writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from productive_k3s.contract.events import Result
from productive_k3s.doors.host import Host
from productive_k3s.facts.gather import gather as gather_facts

if TYPE_CHECKING:
    from productive_k3s.effects.install import GatherFacts


async def run(host: Host, *, gather: GatherFacts = gather_facts) -> Result:
    """Return the facts."""
    return Result("done", facts=await gather(host))
