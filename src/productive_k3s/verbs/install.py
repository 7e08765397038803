"""`server` and `agent` (and `single-node`): lock, facts, assess, agree, apply in order, facts again."""

from __future__ import annotations

import secrets
from typing import Tuple

from productive_k3s.contract.events import Outcome, Result
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host
from productive_k3s.effects.install import apply_change
from productive_k3s.effects.lock import take_lock
from productive_k3s.effects.sequence import make_changes
from productive_k3s.effects.task import NewToken, Task
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.facts.join import join_veto
from productive_k3s.plan.agreement import left_over, not_agreed
from productive_k3s.plan.changes import Assessment, assess
from productive_k3s.plan.request_rules import mistakes, version_notes


def random_token() -> Secret:
    """Return a new token: 128 bits, as K3s itself makes them."""
    return Secret(secrets.token_hex(16))


async def run(
    host: Host,
    request: Request,
    *,
    plan: bool = False,
    gather: GatherFacts = gather_facts,
    new_token: NewToken = random_token,
) -> Result:
    """Make this host what the request asks, or with `plan` say what that would change; writes nothing then."""
    wrong = mistakes(request)
    if wrong:
        return Result("failed", failures=wrong)
    if not plan:
        failure = await take_lock(host)
        if failure is not None:
            return Result("locked", failures=(failure,))
    facts = await gather(host)
    assessment = assess(request, facts, planning=plan)
    notes = (*version_notes(request), *assessment.notes)
    refused = assessment.vetoes or (() if plan else not_agreed(request, assessment.changes))
    if refused:
        return Result("refused", failures=refused, changes=assessment.changes, notes=notes, facts=facts)
    if plan or not assessment.changes:
        outcome: Outcome = "planned" if assessment.changes else "unchanged"
        return Result(outcome, changes=assessment.changes, notes=notes, facts=facts)
    unreachable = None if assessment.effective.is_member else await join_veto(host.system, request)
    if unreachable is not None:
        return Result("refused", failures=(unreachable,), changes=assessment.changes, notes=notes, facts=facts)
    return await _apply(Task(host, assessment.desired, assessment.effective, new_token, gather), assessment, notes)


async def _apply(task: Task, assessment: Assessment, notes: Tuple[str, ...]) -> Result:
    made = await make_changes(task.host, assessment.changes, lambda change: apply_change(task, change), task.gather)
    failures = made.failures
    if not failures and made.facts is not None:
        failures = left_over(assess(task.request, made.facts, planning=True).changes)
        notes = notes if failures else (*notes, *_next(task))
    outcome = made.outcome if made.failures or not failures else "failed"
    return Result(outcome, failures=failures, changes=made.changes, notes=notes, facts=made.facts)


def _next(task: Task) -> Tuple[str, ...]:
    """Say what a person who made a node by hand can do now."""
    if task.request.mode != "single-node":
        return ()
    name = task.desired.node_name
    return (f"{name} is Ready; as root: kubectl get nodes, or productive-k3s validate --scope cluster --full",)
