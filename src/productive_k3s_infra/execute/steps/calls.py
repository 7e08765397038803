"""What calls of the host program have in common: how long they may take, and which ends are good."""

from __future__ import annotations

from productive_k3s.contract.request import Request

GOOD = ("done", "unchanged")
SHORT_SECONDS = 60.0
MARGIN_SECONDS = 60.0


def call_seconds(request: Request) -> float:
    """PURE: return how long a server's or agent's run may take: what its waits may, and the travel."""
    limits = request.deadlines
    watched = request.watch.seconds + limits.ready if request.watch is not None else 0.0
    return limits.download + limits.start + limits.ready + watched + MARGIN_SECONDS
