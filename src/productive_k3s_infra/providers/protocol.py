"""What every provider can do: survey (read only), create, destroy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from productive_k3s_infra.inventory.model import Endpoint

MachineState = Literal["running", "stopped", "broken", "missing", "extra"]
OnProgress = Callable[[str, str], None]
"""Called with a machine's name and what is happening to it."""


@dataclass(frozen=True)
class SurveyedMachine:
    """One machine as the provider sees it; `missing` is declared but does not exist, `extra` the other way round."""

    name: str
    state: MachineState
    address: str = ""
    endpoint: Endpoint | None = None
    evidence: str = ""


@dataclass(frozen=True)
class Survey:
    """What exists, what is missing, what is too much. `owns_machines` False: the provider cannot create any."""

    owns_machines: bool
    machines: tuple[SurveyedMachine, ...]

    def machine(self, name: str) -> SurveyedMachine | None:
        """Return the machine of that name."""
        return next((machine for machine in self.machines if machine.name == name), None)


class Provider(Protocol):
    """Finds or makes the machines of one cluster. Errors are ProviderFailed with what, where and remedy."""

    async def survey(self) -> Survey:
        """Look, change nothing."""
        ...

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        """Make these machines exist and answer on SSH; those that do are left alone."""
        ...

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        """Destroy these machines and what belongs to them; no error for one that does not exist."""
        ...
