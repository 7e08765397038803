"""`server` and `agent` (and `single-node`): lock, facts, assess, agree, apply in order, facts again."""

from __future__ import annotations

import secrets
from typing import Optional, Tuple
from urllib.parse import urlsplit

from productive_k3s.contract.events import Outcome, Result
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host
from productive_k3s.effects.install import apply_change
from productive_k3s.effects.lock import take_lock
from productive_k3s.effects.sequence import make_changes
from productive_k3s.effects.task import NewToken, Task
from productive_k3s.facts.gather import GatherFacts
from productive_k3s.facts.gather import gather as gather_facts
from productive_k3s.k3s.token import ca_hash, parse_token
from productive_k3s.plan.changes import Assessment, assess
from productive_k3s.plan.compare import is_member
from productive_k3s.plan.render import node_name
from productive_k3s.plan.request_rules import mistakes, unknown_version_note

_SERVER_SECONDS = 10.0


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
    notes = tuple(note for note in (unknown_version_note(request), *assessment.notes) if note)
    refused = assessment.vetoes or (() if plan else _not_agreed(request, assessment))
    if refused:
        return Result("refused", failures=refused, changes=assessment.changes, notes=notes, facts=facts)
    if plan or not assessment.changes:
        outcome: Outcome = "planned" if assessment.changes else "unchanged"
        return Result(outcome, changes=assessment.changes, notes=notes, facts=facts)
    unreachable = await _join_veto(host, request, facts)
    if unreachable is not None:
        return Result("refused", failures=(unreachable,), changes=assessment.changes, notes=notes, facts=facts)
    return await _apply(Task(host, request, facts, new_token, gather), assessment, notes)


def _not_agreed(request: Request, assessment: Assessment) -> Tuple[Failure, ...]:
    if request.agreed is None:
        return ()
    needed = [item for item in assessment.changes if item.impact != "read" and item.id not in request.agreed]
    if not needed:
        return ()
    return (
        Failure(
            code="changes.not-agreed",
            what="this host needs changes that were not agreed to",
            evidence="; ".join(f"{item.id} ({item.reason})" for item in needed),
            remedy="look at a new plan and agree to it",
            exit_code=4,
        ),
    )


async def _join_veto(host: Host, request: Request, facts: Facts) -> Optional[Failure]:
    """Ask the server for its CA before a join writes anything (docs.k3s.io, cli/token: how a join is checked)."""
    if request.join is None or request.join.token is None or is_member(facts):
        return None
    url = f"{_with_address(request, request.join.server).rstrip('/')}/cacerts"
    try:
        answer = await host.system.get(url, ca=None, timeout=_SERVER_SECONDS)
    except ContractError as error:
        return _unreachable(request.join.server, error.failure.evidence or error.failure.what)
    except OSError as error:
        return _unreachable(request.join.server, str(error))
    if answer.status != 200:
        return _unreachable(request.join.server, f"{url} answered {answer.status}")
    wanted = parse_token(request.join.token.unmask()).ca_hash
    found = ca_hash(answer.body)
    if found == wanted:
        return None
    return Failure(
        code="k3s.ca-mismatch",
        what=f"the cluster at {request.join.server} is not the token's",
        evidence=f"its CA is {found[:12]}..., the token's is {wanted[:12]}...",
        remedy="use the token of that server's cluster, or correct the server's address",
        exit_code=4,
    )


def _with_address(request: Request, server: str) -> str:
    """Return the URL with the address that this host is yet to be told of, where its name is one of the request's."""
    parts = urlsplit(server)
    name = parts.hostname or ""
    found = [entry.address for entry in request.hosts_file if name in map(str.lower, entry.names)]
    if not found:
        return server
    address = f"[{found[0]}]" if ":" in found[0] else found[0]
    return parts._replace(netloc=f"{address}:{parts.port or 443}").geturl()


def _unreachable(server: str, evidence: str) -> Failure:
    return Failure(
        code="k3s.unreachable-server",
        what=f"the server {server} does not answer, so nothing was changed here",
        evidence=evidence,
        remedy="see that K3s runs there, and that its port is reachable from this host",
        exit_code=4,
    )


async def _apply(task: Task, assessment: Assessment, notes: Tuple[str, ...]) -> Result:
    made = await make_changes(task.host, assessment.changes, lambda change: apply_change(task, change), task.gather)
    failures = made.failures
    if not failures and made.facts is not None:
        failures = _left_over(task.request, made.facts)
        notes = notes if failures else (*notes, *_next(task.request, made.facts))
    outcome = made.outcome if made.failures or not failures else "failed"
    return Result(outcome, failures=failures, changes=made.changes, notes=notes, facts=made.facts)


def _next(request: Request, facts: Facts) -> Tuple[str, ...]:
    """Say what a person who made a node by hand can do now."""
    if request.mode != "single-node":
        return ()
    name = node_name(request, facts)
    return (f"{name} is Ready; as root: kubectl get nodes, or productive-k3s validate --scope cluster --full",)


def _left_over(request: Request, facts: Facts) -> Tuple[Failure, ...]:
    """Look at the host once more: after a run nothing may be left to do."""
    left = assess(request, facts, planning=True).changes
    if not left:
        return ()
    return (
        Failure(
            code="changes.left-over",
            what="the run ended well, and the host still differs",
            evidence="; ".join(f"{item.id} ({item.reason})" for item in left),
            remedy="run it again; if that says the same, something else on the host changes it back",
        ),
    )
