"""PURE: the token files that have to be written, and whether a token has to be given for that."""

from __future__ import annotations

from typing import Iterator, Optional, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.facts import TokenFact
from productive_k3s.contract.failure import Failure
from productive_k3s.k3s import paths
from productive_k3s.k3s.token import parse_token, password_digest
from productive_k3s.plan.compare import Comparison
from productive_k3s.plan.desired import Desired
from productive_k3s.plan.effective import Effective


def token_changes(desired: Desired, effective: Effective, *, writes_config: bool, planning: bool) -> Tuple[Change, ...]:
    """Return the token files that have to be written.

    While `planning`, the token of a join is not known yet. An agent that does not run may have been started with a
    wrong one: then what the host will need if that is so has to be agreed to as well.
    """
    there = {token.path: token for token in effective.facts.k3s.tokens}
    # A member that reads its token elsewhere keeps doing so until its config.yaml is written.
    named = effective.is_ours or writes_config
    is_server = desired.request.role == "server"
    wanted = (paths.SERVER_TOKEN, paths.AGENT_TOKEN) if is_server else (paths.AGENT_TOKEN,)
    moves = f"config.yaml refers to it; the {'tokens are' if is_server else 'token is'} unchanged"
    reason = moves if effective.was_made_by_others else "it does not exist yet; it is generated once"
    missing = tuple(_secret(path, reason) for path in wanted if path not in there)
    if missing:
        return missing if named else ()
    if is_server:
        stale = "the cluster's token was rotated, and K3s would not start again with the one in this file"
        return (_secret(paths.SERVER_TOKEN, stale),) if was_rotated(effective) else ()
    return tuple(_of_agent(desired, effective, there[paths.AGENT_TOKEN], planning=planning))


def _of_agent(desired: Desired, effective: Effective, there: TokenFact, *, planning: bool) -> Iterator[Change]:
    join = desired.request.join
    if join is None or effective.runs:
        return
    if join.token is not None:
        given = join.token.unmask()
        if (password_digest(given), parse_token(given).ca_hash) != (there.password, there.ca_hash):
            yield _secret(paths.AGENT_TOKEN, "a different token was given, and this agent has not joined")
    elif planning and effective.unit is not None and effective.unit.active_state not in ("inactive", "failed"):
        yield _secret(paths.AGENT_TOKEN, "this agent has not joined: its token is replaced if it is not the cluster's")


def _secret(path: str, reason: str) -> Change:
    return Change(f"secret:{path}", "write-secret", path, reason, "change")


def was_rotated(effective: Effective) -> bool:
    """Whether K3s' own server token is another one since this K3s was started with the one in our file.

    `k3s token rotate` changes the cluster's token and server/token, and leaves the file that config.yaml names alone
    (seen on v1.36.3); a start with the old one ends at once.
    """
    return _tokens_differ(effective) and _runs_with_our_files(effective)


def _tokens_differ(effective: Effective) -> bool:
    there = {token.path: token for token in effective.facts.k3s.tokens}
    ours, own = there.get(paths.SERVER_TOKEN), there.get(paths.CLUSTER_SERVER_TOKEN)
    named = effective.flags.get("token-file") == [paths.SERVER_TOKEN]
    return effective.is_member and named and ours is not None and own is not None and ours.password != own.password


def _runs_with_our_files(effective: Effective) -> bool:
    running, on_disk = effective.facts.k3s.running, effective.facts.k3s.on_disk
    return (
        running is not None
        and running.digests is not None
        and on_disk is not None
        and running.digests.tokens == on_disk.tokens
    )


def token_unclear(effective: Effective) -> Optional[Failure]:
    """Return a veto where K3s' token and the one in our file differ, and nobody can tell which of them is right."""
    running = effective.facts.k3s.running
    was_changed = running is not None and running.digests is not None
    if not _tokens_differ(effective) or was_changed:
        # A file that was changed since the start was corrected by somebody: a restart takes it.
        return None
    return Failure(
        code="k3s.token-differs",
        what=f"the token in {paths.SERVER_TOKEN} is not the one that K3s last used, and K3s starts with one only",
        evidence=f"{paths.CLUSTER_SERVER_TOKEN} holds another password",
        remedy=(
            f"after k3s token rotate on this server, write the new token into {paths.SERVER_TOKEN}; "
            f"after a rotation elsewhere, that one: then start K3s once (systemctl restart k3s)"
        ),
        exit_code=ExitCode.REFUSED,
    )


def needs_token(desired: Desired, effective: Effective, comparison: Comparison) -> bool:
    """Whether a token must be given: to join, or because ours is to replace one that lies elsewhere."""
    if not effective.is_member:
        return True
    if desired.request.role == "server" or effective.is_ours:
        return False
    here = any(token.path == paths.AGENT_TOKEN for token in effective.facts.k3s.tokens)
    return not here and comparison.writes_config
