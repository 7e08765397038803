"""Plans that are saved: what is written of one, and which of them may be applied here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from productive_k3s import __version__
from productive_k3s.contract.facts import Facts
from productive_k3s_infra._files import explained
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.errors import BadInput, NotAgreed
from productive_k3s_infra.operations.agreement import PRUNE_ONE, losses
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.saved import PlanOptions, SavedPlan
from productive_k3s_infra.workspace.directory import AREA
from productive_k3s_infra.workspace.saved_plan import SavedFile, digest_of, read_saved_plan, write_saved_plan


def save_plan(session: Session, path: Path, plan: Plan, options: PlanOptions, facts: Mapping[str, Facts]) -> None:
    """Write the plan to be applied later; raises NotAgreed where it loses what nobody named, BadInput for the path."""
    _require_named(plan, options.prune)
    machines = {name: digest for name, digest in machine_digests(facts).items() if name in options.replacing}
    saved = SavedPlan(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        pk3s=__version__,
        program=build_program().sha256,
        cluster=session.spec.name,
        cluster_file=_cluster_file_digest(session),
        options=options,
        plan=plan,
        machines=machines,
    )
    write_saved_plan(path, saved)


def _require_named(plan: Plan, prune: str | None) -> None:
    """Nobody is asked when a saved plan is applied: what it loses is named when it is made."""
    lost = losses(plan)
    if not lost or prune == plan.cluster or (prune == PRUNE_ONE and len(lost) == 1):
        return
    word = "--prune" if len(lost) == 1 else f"--prune={plan.cluster}"
    raise NotAgreed(
        "the file no longer names them, and a saved plan is applied without a question; it was not saved",
        where=", ".join(lost),
        remedy=f"put them back into the file; or add {word} to pk3s plan too",
        code="plan.prune",
    )


def open_saved(session: Session, path: Path, given: PlanOptions) -> SavedFile:
    """Read a saved plan of this cluster and this cluster file; raises BadInput for any other.

    `given` are the options beside it: they may say once more what the plan was made with, and nothing else.
    """
    file = read_saved_plan(path, version=__version__, program=build_program().sha256)
    saved, where = file.content, str(path)
    if saved.cluster != session.spec.name:
        raise BadInput(
            f"the plan is for another cluster, {saved.cluster}",
            where=where,
            evidence=f"{session.workspace.cluster_file} is for {session.spec.name}",
            remedy=f"name the cluster file of {saved.cluster} with -f",
            code="plan.other-cluster",
        )
    if saved.cluster_file != _cluster_file_digest(session):
        raise BadInput(
            "the cluster file has changed since the plan was made",
            where=str(session.workspace.cluster_file),
            evidence=f"the plan was made {saved.made}",
            remedy=f"make the plan again: pk3s plan --out {path}; or restore the file as it was then",
            code="plan.other-file",
        )
    _require_no_others(given, saved.options)
    return file


def _require_no_others(given: PlanOptions, saved: PlanOptions) -> None:
    options = (
        ("--limit", given.limit, saved.limit),
        ("--replace", given.replacing, saved.replacing),
        ("--prune", given.prune, saved.prune),
        ("--new-cluster", given.new_cluster or None, saved.new_cluster),
    )
    others = [name for name, said, held in options if said not in ((), None) and said != held]
    if others:
        raise BadInput(
            f"the saved plan was not made with this {' and '.join(others)}",
            where="the command line",
            remedy="leave it out: the options that the plan was made with apply; or make another plan with it",
            code="plan.beside",
        )


def machine_digests(facts: Mapping[str, Facts]) -> dict[str, str]:
    """Return what tells each machine from every other one of its name."""
    return {name: digest_of(found.host.machine_id.encode()) for name, found in facts.items()}


def _cluster_file_digest(session: Session) -> str:
    path = session.workspace.cluster_file
    with explained(path, AREA):
        return digest_of(path.read_bytes())
