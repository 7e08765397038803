"""What one run on one host is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from productive_k3s.contract.facts import Facts
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host
from productive_k3s.facts.gather import GatherFacts

# Makes the secret of a new token; a parameter so that runs can be repeated in tests.
NewToken = Callable[[], Secret]


@dataclass(frozen=True)
class Task:
    """One run on one host: what is asked, what was found, and where randomness and fresh facts come from."""

    host: Host
    request: Request
    facts: Facts
    new_token: NewToken
    gather: GatherFacts
