"""PURE: a plan as a value that can be printed, compared and agreed to. It holds no secret and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import Artifact
from productive_k3s_infra.plan.step import StageName, Step


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
class Unreached:
    """A host that did not say how it is, so that nothing is planned for it; `failure` says why it was not reached."""

    host: str
    failure: Failure


@dataclass(frozen=True)
class Plan:
    """All steps that close the drift, in an order that respects `needs`.

    With a `limit` they are those of the nodes that it names, and nothing is said of others.
    """

    cluster: str
    steps: tuple[Step, ...]
    unchanged: tuple[Unchanged, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    unreached: tuple[Unreached, ...] = ()
    limit: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    @property
    def disruptive(self) -> tuple[Step, ...]:
        """The steps that interrupt something that runs."""
        return tuple(step for step in self.steps if step.impact == "disrupt")

    def of_stage(self, stage: StageName) -> tuple[Step, ...]:
        """Return the steps of one stage."""
        return tuple(step for step in self.steps if step.stage == stage)
