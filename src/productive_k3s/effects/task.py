"""What one run on one host is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.plan.desired import Desired
from productive_k3s.plan.effective import Effective
from productive_k3s.waits.watch import ReadyPods

# Makes the secret of a new token; a parameter so that runs can be repeated in tests.
NewToken = Callable[[], Secret]


@dataclass
class Seen:
    """What an effect saw, for one that comes after it in the same run."""

    ready_pods: ReadyPods = None


@dataclass(frozen=True)
class Task:
    """One run on one host: what is desired, what was found, and where randomness and fresh facts come from."""

    host: Host
    desired: Desired
    effective: Effective
    new_token: NewToken
    gather: GatherFacts
    seen: Seen = field(default_factory=Seen)

    @property
    def request(self) -> Request:
        """What is asked."""
        return self.desired.request

    @property
    def facts(self) -> Facts:
        """What the host was before the run."""
        return self.effective.facts
