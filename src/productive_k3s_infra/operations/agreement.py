"""Nothing is changed that nobody agreed to, and no machine or host is lost that nobody named."""

from __future__ import annotations

from productive_k3s_infra.errors import NotAgreed
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.step import DestroyMachine, UninstallHost

PRUNE_ONE = ""
"""`--prune` without a cluster's name: one machine or host may be lost."""


def require_agreed(session: Session, plan: Plan, prune: str | None = None) -> None:
    """Show the plan and go on only if somebody agrees to it; raises NotAgreed.

    What the file does not name any more goes only if a person says so, for more than one by typing the cluster's name.
    Where nobody is asked `prune` says it: PRUNE_ONE for one, the cluster's name for any number, None for none.
    """
    lost = losses(plan)
    named = prune == plan.cluster
    if lost and session.interaction.unattended and not (named or (prune == PRUNE_ONE and len(lost) == 1)):
        word = "--prune" if len(lost) == 1 else f"--prune={plan.cluster}"
        raise NotAgreed(
            "the file no longer names them, and their removal cannot be confirmed here; nothing was changed",
            where=", ".join(lost),
            remedy=f"put them back into the file; or add {word}",
            code="plan.prune",
        )
    agreed = session.interaction.agree(plan)
    if agreed and len(lost) > 1 and not named:
        agreed = session.interaction.agree_to_destroy(plan.cluster, tuple(lost.values()))
    if not agreed:
        raise NotAgreed(
            "the plan was not approved, so nothing was changed",
            remedy="review pk3s plan, then approve it on a terminal, or use --yes where no question can be asked",
        )


def losses(plan: Plan) -> dict[str, str]:
    """PURE: return the machines and hosts that the cluster loses for good, and in words what goes with them."""
    found = {}
    for step in plan.of_stage("cluster"):
        if isinstance(step, DestroyMachine):
            found[step.host] = f"machine {step.host}, with its disk and the volumes on it"
        elif isinstance(step, UninstallHost):
            found[step.host] = f"K3s on {step.host}, its pods and local volumes; the host stays"
    return found


def covers(agreed: Plan | None, plan: Plan) -> bool:
    """PURE: return whether all that interrupts something in this plan was in the one that was agreed to."""
    if agreed is None:
        return False
    known = {(step.id, step.impact) for step in agreed.steps}
    return all((step.id, step.impact) in known for step in plan.disruptive)
