"""What a validation expects; pk3s sends it, a person gets what the host's own facts say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Tuple


@dataclass(frozen=True)
class ExpectedNode:
    """A node that shall be there. `address` is its InternalIP, '' if any will do."""

    name: str
    role: Literal["server", "agent"]
    address: str = ""


@dataclass(frozen=True)
class Expectation:
    """The cluster that shall be found. Empty `nodes`: those that the API shows, `version` '': the host's own.

    A node counts as Ready after `ready_in_a_row` looks `interval` seconds apart; `deadline` bounds the wait for nodes
    and system pods together, `trial_deadline` that for the pods of a full validation, which run `image` ('': K3s' own).
    With `joining` the nodes are on their way: their pods are made before they are there.
    """

    version: str = ""
    nodes: Tuple[ExpectedNode, ...] = ()
    ready_in_a_row: int = 3
    interval: float = 0.25
    deadline: float = 60.0
    trial_deadline: float = 120.0
    image: str = ""
    joining: bool = False
