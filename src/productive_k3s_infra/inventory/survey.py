"""PURE: what a provider saw of the machines of one cluster, and what it would change beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from productive_k3s_infra.inventory.model import Location

MachineState = Literal["running", "stopped", "broken", "missing", "extra"]
ResourceAction = Literal["create", "update", "delete", "replace"]


@dataclass(frozen=True)
class SurveyedMachine:
    """One machine as the provider sees it; `missing` is declared but does not exist, `extra` the other way round.

    `location` is known of machines that run. `differences` say what is not as the file says and cannot be changed
    while the machine lives ("memory is 4G, the file says 8G").
    """

    name: str
    state: MachineState
    location: Location | None = None
    evidence: str = ""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resource:
    """Something that the provider would change: a machine's own part (`machine`), or shared by all of them ("").

    `name` is the provider's name for it; `what` says more to a person.
    """

    name: str
    action: ResourceAction
    machine: str = ""
    what: str = ""

    def __str__(self) -> str:
        return f"{self.action} {self.name}" + (f" ({self.what})" if self.what else "")


@dataclass(frozen=True)
class Assumption:
    """What a machine of this provider will be once it exists; `system` and `release` are those of os-release.

    `allows_cgroup_v1`: its kubelet is told that these control groups will do.
    """

    system: str = "debian"
    release: str = "12"
    architecture: str = "amd64"
    interface: str = "host0"
    cgroup_version: int = 2
    allows_cgroup_v1: bool = False


@dataclass(frozen=True)
class Survey:
    """What exists, what is missing, what is too much. `owns_machines` False: the provider cannot create any.

    `resources` are changes the provider would make with the next `create`. `shared` names in words what exists beside
    the machines and goes with the cluster; `notes` are for the person who reads the plan.
    """

    owns_machines: bool
    machines: tuple[SurveyedMachine, ...]
    resources: tuple[Resource, ...] = ()
    assumption: Assumption = Assumption()
    shared: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def machine(self, name: str) -> SurveyedMachine | None:
        """Return the machine of that name."""
        return next((machine for machine in self.machines if machine.name == name), None)

    @property
    def extra(self) -> tuple[str, ...]:
        """Names of machines that exist and are not in the file any more."""
        return tuple(machine.name for machine in self.machines if machine.state == "extra")
