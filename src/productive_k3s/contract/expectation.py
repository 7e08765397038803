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
    and system pods together, `trial_deadline` that for the pods of a full validation. With `joining` the nodes are on
    their way: what their pods need is made before they are there.

    The pods run `image`, else one that a node has, else one of `images`, those that the release names (its
    k3s-images.txt). Of K3s' packaged components those are expected whose images are in that list. `may_pull` False: the
    nodes reach no registry, so what is not there is not waited for.

    `state` is a digest of what the hosts are made of. With `unless_passed` a full validation is only quick where one
    has passed for this very state; where `state` is '', not known, where the last one has passed.
    """

    version: str = ""
    nodes: Tuple[ExpectedNode, ...] = ()
    ready_in_a_row: int = 3
    interval: float = 0.25
    deadline: float = 60.0
    trial_deadline: float = 120.0
    image: str = ""
    images: Tuple[str, ...] = ()
    may_pull: bool = True
    joining: bool = False
    state: str = ""
    unless_passed: bool = False
