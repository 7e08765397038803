"""Nothing is changed that nobody agreed to."""

from __future__ import annotations

from productive_k3s_infra.errors import NotAgreed
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.model import Plan


def require_agreed(session: Session, plan: Plan) -> None:
    """Show the plan and go on only if somebody agrees to it; raises NotAgreed."""
    if not session.interaction.agree(plan):
        raise NotAgreed(
            "nobody agreed to the plan, so nothing was changed",
            remedy="look at pk3s plan, then agree on a terminal, or say --yes where nobody is asked",
        )


def covers(agreed: Plan | None, plan: Plan) -> bool:
    """PURE: return whether all that interrupts something in this plan was in the one that was agreed to."""
    if agreed is None:
        return False
    known = {(step.id, step.impact) for step in agreed.steps}
    return all((step.id, step.impact) in known for step in plan.disruptive)
