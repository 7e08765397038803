"""PURE: the steps of a plan, one type an action, each with exactly the fields that its action needs.

`Step` is their union, told apart by `action`: whoever handles steps matches on the type, and the type checker says
which one was forgotten. A step holds no secret: what is unknown while planning is a named placeholder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from productive_k3s.contract.change import Change, Impact
from productive_k3s.contract.request import Artifact, Request
from productive_k3s_infra.inventory.model import Role

StageName = Literal["machines", "cluster", "teardown", "node"]

DRAIN_SECONDS = 300.0


@dataclass(frozen=True)
class Placeholder:
    """A value that a later step gets from an earlier one; printed as `<agent token of server-1>`."""

    name: str
    of: str

    def __str__(self) -> str:
        return f"<{self.name} of {self.of}>"


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What all steps have. `id` is `<node>/<action>`; `host` is where it happens.

    `needs` are ids of steps that must have ended well. `changes` are what the host would do, as far as that is known.
    `stage` is written by the stage whose rule found the step.
    """

    id: str
    host: str
    reason: str
    impact: Impact
    needs: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    stage: StageName = "cluster"

    @property
    def subject(self) -> str:
        """The node, host or machine that the step is about: not `host` where another one is asked to do it."""
        return self.host


@dataclass(frozen=True, kw_only=True)
class ChangeShared(_Step):
    """The provider changes what machines share; `resources` says in words what."""

    resources: tuple[str, ...] = ()
    action: Literal["shared-resources"] = "shared-resources"


@dataclass(frozen=True, kw_only=True)
class CreateMachine(_Step):
    """The provider makes a machine, or finishes one that was begun; `resources` says in words what else is its own."""

    resources: tuple[str, ...] = ()
    action: Literal["create-machine"] = "create-machine"


@dataclass(frozen=True, kw_only=True)
class StartMachine(_Step):
    """The provider starts a machine that exists and does not run."""

    resources: tuple[str, ...] = ()
    action: Literal["start-machine"] = "start-machine"


@dataclass(frozen=True, kw_only=True)
class DestroyMachine(_Step):
    """The provider destroys a machine with its disk."""

    action: Literal["destroy-machine"] = "destroy-machine"


@dataclass(frozen=True, kw_only=True)
class DestroyShared(_Step):
    """The provider destroys all that is left of the cluster: what its machines share, and its own records."""

    resources: tuple[str, ...] = ()
    action: Literal["destroy-shared"] = "destroy-shared"


@dataclass(frozen=True, kw_only=True)
class StageArtifacts(_Step):
    """This computer pushes files of the release to the host."""

    artifacts: tuple[Artifact, ...]
    assumed: bool = False
    action: Literal["stage-artifacts"] = "stage-artifacts"


@dataclass(frozen=True, kw_only=True)
class ApplyServer(_Step):
    """The host becomes, or stays, the server that `request` describes. `assumed`: its machine does not exist yet."""

    request: Request
    assumed: bool = False
    action: Literal["apply-server"] = "apply-server"


@dataclass(frozen=True, kw_only=True)
class ApplyAgent(_Step):
    """The host becomes, or stays, the agent that `request` describes; `token` is filled in just before sending."""

    request: Request
    token: Placeholder | None = None
    assumed: bool = False
    action: Literal["apply-agent"] = "apply-agent"


@dataclass(frozen=True, kw_only=True)
class LabelNode(_Step):
    """A server, `host`, sets labels of `node` through the API, None takes one away; then its taints.

    `taints` are words of `productive-k3s node taint`.
    """

    node: str
    labels: Mapping[str, str | None]
    taints: tuple[str, ...] = ()
    action: Literal["label-node"] = "label-node"

    @property
    def subject(self) -> str:
        return self.node


@dataclass(frozen=True, kw_only=True)
class RemoveNode(_Step):
    """A server, `host`, drains `node` and takes it out of the cluster."""

    node: str
    action: Literal["remove-node"] = "remove-node"

    @property
    def subject(self) -> str:
        return self.node


@dataclass(frozen=True, kw_only=True)
class ForgetNode(_Step):
    """A server, `host`, takes `node` out of the cluster without a drain: nothing runs there any more."""

    node: str
    action: Literal["forget-node"] = "forget-node"

    @property
    def subject(self) -> str:
        return self.node


@dataclass(frozen=True, kw_only=True)
class CordonNode(_Step):
    """A server, `host`, lets `node` take no new pods, as a person asked."""

    node: str
    action: Literal["cordon-node"] = "cordon-node"

    @property
    def subject(self) -> str:
        return self.node


@dataclass(frozen=True, kw_only=True)
class DrainNode(_Step):
    """A server, `host`, cordons `node` and evicts its pods, for at most `timeout_seconds`.

    `by_apply`: the cordon is noted as an apply's, unless the node is cordoned already; otherwise it is a person's.
    """

    node: str
    timeout_seconds: float = DRAIN_SECONDS
    by_apply: bool = True
    action: Literal["drain-node"] = "drain-node"

    @property
    def subject(self) -> str:
        return self.node


@dataclass(frozen=True, kw_only=True)
class UncordonNode(_Step):
    """A server, `host`, lets `node` take new pods again. `by_apply`: only if an apply had cordoned it."""

    node: str
    by_apply: bool = True
    action: Literal["uncordon-node"] = "uncordon-node"

    @property
    def subject(self) -> str:
        return self.node


@dataclass(frozen=True, kw_only=True)
class UninstallHost(_Step):
    """K3s goes from the host, which stays. The host refuses if its cluster's CA is not `ca_hash`.

    `ca_hash` None: the host was seen to have no CA, no datastore and no credentials, so there is nothing to lose.
    """

    role: Role
    ca_hash: str | None
    action: Literal["uninstall"] = "uninstall"


MachineStep = ChangeShared | CreateMachine | StartMachine | DestroyMachine | DestroyShared
ApplyStep = ApplyServer | ApplyAgent
NodeStep = LabelNode | RemoveNode | ForgetNode | CordonNode | DrainNode | UncordonNode
Step = MachineStep | StageArtifacts | ApplyStep | NodeStep | UninstallHost
