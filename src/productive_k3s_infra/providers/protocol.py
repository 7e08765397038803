"""What every provider can do: survey (read only), create, destroy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from productive_k3s_infra.inventory.survey import (
    Assumption,
    MachineState,
    Resource,
    ResourceAction,
    Survey,
    SurveyedMachine,
)

__all__ = ["Assumption", "MachineState", "OnProgress", "Provider", "Resource", "ResourceAction", "Survey"]
__all__ += ["SurveyedMachine"]

OnProgress = Callable[[str, str], None]
"""Called with a machine's name ('' for what all of them need) and what is happening to it."""


class Provider(Protocol):
    """Finds or makes the machines of one cluster. Errors are ProviderFailed with what, where and remedy.

    A provider keeps to machines that it made for this cluster. Each method can be cut off anywhere: the next survey
    sees what is there, and the next `create` or `destroy` goes on from it.
    """

    async def survey(self) -> Survey:
        """Look, change nothing."""
        ...

    async def create(self, names: tuple[str, ...], on_progress: OnProgress) -> Survey:
        """Make these machines exist and answer on SSH, and bring about the survey's `resources`; destroy nothing.

        Machines that run are left alone. Without names only what is shared changes.
        """
        ...

    async def destroy(self, names: tuple[str, ...], on_progress: OnProgress) -> None:
        """Destroy these machines and what belongs to them alone; no error for one that does not exist."""
        ...

    async def destroy_all(self, on_progress: OnProgress) -> None:
        """Destroy every machine of the cluster, in the file or not, and what they share."""
        ...
