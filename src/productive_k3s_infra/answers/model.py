"""PURE: the documents that verbs answer with, as types. Their JSON Schemas are made from them (`schema.py`).

A field may be added to a document of schema 1; none is taken away or given another meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.cluster_file.mistake import Mistake
from productive_k3s_infra.plan.model import Plan

# For whoever makes the schemas: what stands under a field is its description.
DESCRIBED: dict[str, Any] = {"use_attribute_docstrings": True, "arbitrary_types_allowed": True}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a command did not end well: what happened, where, what was seen, what to do next."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    code: str
    """Stable: a failure code (docs/failure-codes.md), or the id of the check that failed (docs/preflight.md,
    docs/checks.md)."""
    what: str
    """What happened, in one sentence."""
    where: str = ""
    """The host, step, file or option that it is about; empty where it is about none."""
    evidence: str = ""
    """What was seen, in one line; never a secret."""
    remedy: str = ""
    """What to do next."""
    journal: str | None = None
    """The path of the run's journal; null where none was begun."""
    mistakes: tuple[Mistake, ...] = ()
    """Every mistake of the cluster file, in the order of the file; empty where the problem is another one."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What all documents have."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    exit_code: int
    """What the command ends with (docs/reference/exit-codes.md)."""
    error: Problem | None = None
    """The first reason for an exit code other than 0 and 3; null with these two."""


@dataclass(frozen=True, kw_only=True)
class ErrorAnswer(Answer):
    """A command that came to no result. It may stand in place of the document of any command."""

    error: Problem
    """Why there is none."""


@dataclass(frozen=True, kw_only=True)
class ReportPart:
    """The results of all checks of one look."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    cluster: str
    """The cluster's name."""
    scope: Literal["preflight", "quick", "full"]
    """Before a change; without pods; with a pod on every node."""
    passed: bool
    """Whether no check of severity `error` failed."""
    checks: tuple[CheckResult, ...]
    """Every question with its answer, in the order in which they were asked."""


@dataclass(frozen=True, kw_only=True)
class StepPart:
    """What came of one step of a plan."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    step: str
    """The step's id in the plan."""
    outcome: Literal["done", "failed", "skipped", "stopped"]
    """`skipped`: a step that it needs did not end well. `stopped`: the run was told to stop."""
    seconds: float
    """How long it took."""
    changes: tuple[str, ...]
    """The ids of the changes that the host made."""
    failure: Failure | None
    """Why it failed."""
    skipped_for: str
    """The id of the step whose failure made it impossible; empty where it was not skipped."""


@dataclass(frozen=True, kw_only=True)
class PlanAnswer(Answer):
    """`pk3s plan`: what apply would do, and what would keep it from that."""

    limit: tuple[str, ...]
    """The nodes that `--limit` names; empty: all."""
    plan: Plan
    """The steps, and why nothing is done where nothing is."""
    preflight: ReportPart
    """What was found before any change; apply is refused unless it passed."""
    out: str | None
    """The file that the plan was saved as (`--out`); null where it was not saved."""


@dataclass(frozen=True, kw_only=True)
class ApplyAnswer(Answer):
    """`pk3s apply`: what was planned, done and found. Facts of hosts are in the journal, not here."""

    seconds: float
    """How long it took."""
    journal: str | None
    """The path of the run's journal; null where none could be written."""
    limit: tuple[str, ...]
    """The nodes that `--limit` names; empty: all."""
    plan: Plan
    """The plan on what was seen last."""
    preflight: ReportPart
    """What was found before any change to a host; nothing was changed unless it passed."""
    results: tuple[StepPart, ...]
    """What came of each step, in the order in which they ended."""
    as_before: tuple[str, ...]
    """Nodes that run with the settings of before, as one before them failed."""
    report: ReportPart | None
    """The validation afterwards; null where the run ended before it."""
    troubles: tuple[Failure, ...]
    """What went wrong beside the steps and lost nothing of what was done."""
    saved: str | None
    """The file of the saved plan that was applied; null where none was given."""
    done_before: tuple[str, ...]
    """Ids of the steps of the saved plan that earlier runs of it did."""


@dataclass(frozen=True, kw_only=True)
class HostPart:
    """What one host looks like. An empty string is what is not known."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    name: str
    """The node's name."""
    role: str
    """`server` or `agent`."""
    address: str
    """Where it is reached; empty for a machine that does not exist."""
    machine: str
    """What the provider sees; `declared` where it makes no machines."""
    service: str
    """The state of K3s' unit, or `not installed`."""
    version: str
    """The version of K3s that is installed."""
    ready: bool | None
    """The node's Ready condition; null where it is not known."""
    note: str
    """Why something is not known, or what stands out."""
    reached: bool | None
    """Whether it answered; null where it was not asked."""


@dataclass(frozen=True, kw_only=True)
class StatusAnswer(Answer):
    """`pk3s status`: how hosts and nodes are, from one look."""

    cluster: str
    """The cluster's name."""
    hosts: tuple[HostPart, ...]
    """The hosts, in the order of the file."""
    undeclared_nodes: tuple[str, ...]
    """Nodes of the cluster that are not in the file."""
    differences: tuple[str, ...]
    """What is not as the file declares it; with `--check` any of them is the reason for exit code 6."""
    verdict: str
    """What is known of all hosts, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class ValidateAnswer(Answer):
    """`pk3s validate`: the results of all checks."""

    cluster: str
    """The cluster's name."""
    scope: Literal["preflight", "quick", "full"]
    """`full` with a pod on every node, else `quick`."""
    passed: bool
    """Whether no check of severity `error` failed."""
    checks: tuple[CheckResult, ...]
    """Every question with its answer, in the order in which they were asked."""


@dataclass(frozen=True, kw_only=True)
class KubeconfigAnswer(Answer):
    """`pk3s kubeconfig`: where the kubeconfig is. Its content is a secret, and not here."""

    path: str
    """The file, mode 0600."""
    context: str
    """The name of the context in it."""
    changed: bool | None
    """With `--merge` or `--unmerge`: whether your own file was changed; otherwise null."""
    current: bool | None
    """With `--merge` or `--unmerge`: whether kubectl uses the context from now on; otherwise null."""
    backup: str | None
    """What your own file was before; null where nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class NodeAnswer(Answer):
    """`pk3s cordon`, `drain` and `uncordon`: what was done with a node."""

    verb: Literal["cordon", "drain", "uncordon"]
    """Which of them it was."""
    node: str
    """The node that it is about."""
    server: str
    """The server that was asked to do it."""
    outcome: str
    """`done`, `unchanged` where it was so already, or how it failed."""
    seconds: float
    """How long it took."""
    notes: tuple[str, ...]
    """What the server said."""
    evicted: int | None
    """How many pods were evicted; null but for a drain that succeeded."""
    alone: tuple[str, ...] | None
    """Pods that nobody makes anew; null but for a drain that succeeded."""
    failure: Failure | None
    """Why it failed."""
    journal: str | None
    """The path of the run's journal; null where none could be written."""


@dataclass(frozen=True, kw_only=True)
class InventoryAnswer(Answer):
    """`pk3s inventory`: what was written for the Ansible role; nothing where the preflight did not pass."""

    folder: str
    """Where it is."""
    changed: tuple[str, ...]
    """The files that are new, or other than before."""
    secrets: tuple[str, ...]
    """The names of the secrets that the role wants in `remote_cluster_secrets`."""
    notes: tuple[str, ...]
    """What is worth a line."""
    preflight: ReportPart
    """What was found on the hosts."""


@dataclass(frozen=True, kw_only=True)
class SupportAnswer(Answer):
    """`pk3s support`: the bundle that was written."""

    path: str
    """The archive; only this user can read it."""
    files: Mapping[str, str]
    """What is in it: names, and what each of them is."""
    missing: tuple[str, ...]
    """What is not in it, with the reason."""


@dataclass(frozen=True, kw_only=True)
class LeftPart:
    """What is still there after a destroy, why, and how it is cleaned."""

    what: str
    host: str
    failure: Failure


@dataclass(frozen=True, kw_only=True)
class DestroyAnswer(Answer):
    """`pk3s destroy`: what went, and what is left."""

    gone: tuple[str, ...]
    """Machines that were destroyed, hosts that K3s was taken off."""
    clean: tuple[str, ...]
    """Hosts on which nothing of K3s was."""
    left: tuple[LeftPart, ...]
    """What is still there."""
    results: tuple[StepPart, ...]
    """What came of each step."""


@dataclass(frozen=True, kw_only=True)
class InitAnswer(Answer):
    """`pk3s init`: the cluster file that was written."""

    file: str
    """Where it is."""
    version: str
    """The exact version of K3s in it."""
    remarks: tuple[str, ...]
    """Of a cluster that is there: what the file does not say, and why."""
    plan: Plan | None
    """Of a cluster that is there: the first plan on it, the release's files aside; null for a new one."""


@dataclass(frozen=True, kw_only=True)
class ProgressLine:
    """One line of `--progress json`: something happened. Every line has every key."""

    __pydantic_config__: ClassVar[dict[str, Any]] = DESCRIBED

    time: str
    """When, in UTC (RFC 3339, milliseconds)."""
    kind: Literal["started", "progressed", "finished", "note", "question", "error"]
    """`question`: an agreement was needed; nobody is asked, `agreed` says what held. `error`: how the command ended."""
    subject: str = ""
    """The node, host or machine, the cluster's name for a question; empty for what is about none."""
    activity: str = ""
    """What begins, goes on or ended; the text of a note or question; what happened, for an error."""
    seconds: float | None = None
    """How long it has run or took; null where nothing runs."""
    failed: bool | None = None
    """Whether it failed; null but for `finished` and `error`."""
    agreed: bool | None = None
    """Whether it was agreed to before (`--yes`); null but for a question."""
    details: tuple[str, ...] = ()
    """What a question is about: steps of the plan, what is lost, host keys. Where a bug happened."""
    error: Problem | None = None
    """Why the command ended; null but for `error`."""
