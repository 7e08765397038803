"""Changes are made one after the other; what stops them is told, and never hidden by what comes after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Awaitable, Callable, List, Optional, Tuple

from productive_k3s.contract.change import Change, in_words
from productive_k3s.contract.events import Outcome
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure, system_failure
from productive_k3s.doors.host import Host
from productive_k3s.facts.gather import GatherFacts


@dataclass(frozen=True)
class Made:
    """The changes that were made, why no more were, and what is true of the host after them, if it can be seen."""

    changes: Tuple[Change, ...]
    failures: Tuple[Failure, ...]
    facts: Optional[Facts]

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        if not self.failures:
            return "done"
        return "interrupted" if self.failures[0].exit_code == ExitCode.INTERRUPTED else "failed"


async def make_changes(
    host: Host, changes: Tuple[Change, ...], make: Callable[[Change], Awaitable[None]], gather: GatherFacts
) -> Made:
    """Make the changes in their order until one fails, then look at the host again.

    The first failure is why it ended. That the host could not be looked at afterwards is one more beside it.
    """
    made: List[Change] = []
    failures: List[Failure] = []
    try:
        for change in changes:
            host.require_going_on()
            host.emit("change-started", in_words(change), change.id)
            await make(change)
            made.append(change)
            host.emit("change-done", change.id, change.id)
    except ContractError as error:
        failures.append(error.failure)
    except OSError as error:
        failures.append(system_failure(error))
    facts: Optional[Facts] = None
    try:
        facts = await gather(host)
    except ContractError as error:
        failures.append(error.failure)
    except OSError as error:
        failures.append(system_failure(error))
    return Made(tuple(made), tuple(failures), facts)
