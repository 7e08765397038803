"""PURE: a plan as a value that can be printed, compared and agreed to. It holds no secret and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from productive_k3s.contract.change import Change, Impact
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import Artifact, Request

Stage = Literal["machines", "cluster", "stack"]
StepAction = Literal[
    "shared-resources",
    "create-machine",
    "destroy-machine",
    "stage-artifacts",
    "apply-server",
    "apply-agent",
    "label-node",
    "remove-node",
    "forget-node",
]


@dataclass(frozen=True)
class ReleaseFiles:
    """The files of one K3s release for one architecture (`amd64`), as requests name them.

    With `pushed` the artefacts have no URL: they are staged on each host from this computer before they are needed.
    """

    version: str
    arch: str
    binary: Artifact
    images: tuple[Artifact, ...] = ()
    pushed: bool = False


@dataclass(frozen=True)
class Reach:
    """How a host was reached over SSH, so that it can be once more when the cluster file no longer names it.

    `key` is the path of the private key as the cluster file said it, `host_key` a public key; '' where there was none.
    """

    address: str
    user: str
    port: int = 22
    jump: Reach | None = None
    key: str = ""
    host_key: str = ""


@dataclass(frozen=True)
class ClusterRecord:
    """What `cluster.lock` remembers of a cluster: its CA (64 hex digits, as in a K10 token) and its exact version.

    `hosts` are those that pk3s did not make, by node: how each of them was reached.
    """

    ca_hash: str
    version: str
    hosts: Mapping[str, Reach] = field(default_factory=dict)


@dataclass(frozen=True)
class Placeholder:
    """A value that a later step gets from an earlier one; printed as `<agent token of server-1>`."""

    name: str
    of: str

    def __str__(self) -> str:
        return f"<{self.name} of {self.of}>"


@dataclass(frozen=True)
class Step:
    """One call of the contract on one host (or one machine of a provider). `id` is `<node>/<action>`.

    `host` is where the call is made; `node` is whom it concerns, where that is another one (labels and taints of an
    agent's Node are set on a server host; `taints` as the words of `productive-k3s node taint`).
    `resources` are what a provider changes in it, in words.
    `needs` are ids of steps that must have ended well. `request` is what the host is asked; secrets in it are
    placeholders by absence (`join.token` is None), named in `placeholders` and filled by the executor just before
    sending. `assumed` marks steps planned on facts of machines that do not exist yet.
    """

    id: str
    stage: Stage
    host: str
    action: StepAction
    reason: str
    impact: Impact
    needs: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    placeholders: tuple[Placeholder, ...] = ()
    request: Request | None = None
    labels: dict[str, str | None] | None = None
    taints: tuple[str, ...] = ()
    assumed: bool = False
    node: str = ""
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unchanged:
    """Why nothing is done on a host."""

    host: str
    reason: str


@dataclass(frozen=True)
class Refusal:
    """A veto found while planning: the plan cannot be executed."""

    host: str
    failure: Failure


@dataclass(frozen=True)
class Plan:
    """All steps that close the drift, in an order that respects `needs`."""

    cluster: str
    steps: tuple[Step, ...]
    unchanged: tuple[Unchanged, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    @property
    def disruptive(self) -> tuple[Step, ...]:
        """The steps that interrupt something that runs."""
        return tuple(step for step in self.steps if step.impact == "disrupt")
