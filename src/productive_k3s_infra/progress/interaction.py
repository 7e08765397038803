"""What an operation asks of the person in front of it, and tells them while it works."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.plan.model import Plan


class Interaction(Protocol):
    """A terminal, or nobody (unattended). Operations never print; they call this."""

    @property
    def unattended(self) -> bool:
        """Whether it was said before that everything is agreed to, so that nobody is asked."""
        ...

    def note(self, message: str) -> None:
        """Say something that is worth a line."""
        ...

    def started(self, subject: str, activity: str) -> None:
        """Something begins on a host or machine."""
        ...

    def progressed(self, subject: str, activity: str) -> None:
        """It goes on; the newest word replaces the one before."""
        ...

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None:
        """It ended."""
        ...

    def dropped(self, subject: str, activity: str) -> None:
        """It was ended before it came to anything: nothing is known of it, neither good nor bad."""
        ...

    def agree(self, plan: Plan) -> bool:
        """Show the plan and ask whether to go on."""
        ...

    def agree_to_destroy(self, cluster: str, dies: tuple[str, ...]) -> bool:
        """Name what dies and ask for the cluster's name."""
        ...

    def trust_host_key(self, host: str, keys: tuple[str, ...]) -> bool:
        """Show a host key seen for the first time and ask whether it is the host's."""
        ...

    def sudo_password(self, host: str) -> Secret | None:
        """Ask for the sudo password; None when nobody can be asked."""
        ...


@runtime_checkable
class Expecting(Protocol):
    """An Interaction that also shows how much of a plan is done. Whoever does not need that has no such method."""

    def expect(self, plan: Plan, then: str = "") -> None:
        """Know which steps are about to come, and what follows them."""
        ...
