"""PURE: what separates a host from its request. The host runs this before it changes anything, and pk3s to plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import Request
from productive_k3s.k3s import paths
from productive_k3s.plan import hosts
from productive_k3s.plan.compare import Comparison, compare
from productive_k3s.plan.desired import Desired, desired_state
from productive_k3s.plan.effective import Effective, effective_state
from productive_k3s.plan.files import file_changes
from productive_k3s.plan.node import node_changes
from productive_k3s.plan.notes import notes
from productive_k3s.plan.service import service_changes
from productive_k3s.plan.tokens import needs_token, token_changes
from productive_k3s.plan.vetoes import vetoes


@dataclass(frozen=True)
class Assessment:
    """Vetoes (nothing may be changed), the changes in order, and why nothing is done where nothing is.

    `needs_token`: a token must be given, to join or because ours is to replace one that lies elsewhere. `desired` and
    `effective` are what was compared.
    """

    vetoes: Tuple[Failure, ...]
    changes: Tuple[Change, ...]
    notes: Tuple[str, ...]
    needs_token: bool
    desired: Desired = field(repr=False)
    effective: Effective = field(repr=False)


def assess(request: Request, facts: Facts, *, planning: bool = False) -> Assessment:
    """Compare by meaning, and say what is to be done, or why it must not.

    While `planning`, a join token that is missing will be filled in before sending; on the host it is a veto.
    """
    effective = effective_state(request, facts)
    desired = desired_state(request, effective)
    comparison = compare(desired, effective)
    wants_token = needs_token(desired, effective, comparison)
    changes = _changes(desired, effective, comparison, planning=planning)
    return Assessment(
        vetoes=vetoes(desired, effective, comparison, wants_token=wants_token and not planning),
        changes=changes,
        notes=notes(desired, effective, comparison, is_done=all(change.action in _OF_NODE for change in changes)),
        needs_token=wants_token,
        desired=desired,
        effective=effective,
    )


_OF_NODE = ("label-node", "taint-node")


def _changes(desired: Desired, effective: Effective, comparison: Comparison, *, planning: bool) -> Tuple[Change, ...]:
    files = file_changes(desired, effective, comparison)
    writes_config = any(change.target == paths.CONFIG for change in files)
    secrets = token_changes(desired, effective, writes_config=writes_config, planning=planning)
    # Labels and taints that go are told by the configuration that still has them: it is written after them. Tokens
    # come before it: a config.yaml that names a token file must never lie there without it.
    before = (
        *_artifacts(desired, effective),
        *hosts.changes(desired.request, effective.facts),
        *node_changes(desired, effective),
        *secrets,
        *files,
    )
    return (*before, *service_changes(desired, effective, before, config_restarts=comparison.config_restarts))


def _artifacts(desired: Desired, effective: Effective) -> Tuple[Change, ...]:
    request, k3s = desired.request, effective.facts.k3s
    changes: List[Change] = []
    binary, there = request.binary, k3s.binary
    if binary is not None and (there is None or there.sha256 != binary.sha256):
        reason = f"{request.version} is not installed" if there is None else "the binary differs from the release's"
        changes.append(Change("binary", "install-binary", paths.BINARY, reason, "change"))
    elif k3s.wrong_label:
        reason = f"its SELinux label ({k3s.wrong_label}) does not match the policy; K3s reads it when it starts"
        changes.append(Change(f"selinux:{paths.BINARY}", "set-label", paths.BINARY, reason, "change"))
    installed = {item.path: item.sha256 for item in k3s.images}
    for image in request.images:
        path = f"{paths.IMAGES}/{image.name}"
        if installed.get(path) != image.sha256:
            reason = "these images are missing" if path not in installed else "these images differ"
            changes.append(Change(f"image:{image.name}", "install-images", path, reason, "change"))
    # The install script leaves names alone that PATH already has; facts list what this host has of them.
    missing = [name for name in paths.LINKS if f"{paths.BINARY_DIRECTORY}/{name}" not in k3s.links]
    if missing:
        target = " ".join(f"{paths.BINARY_DIRECTORY}/{name}" for name in missing)
        changes.append(Change("links", "make-links", target, "the commands next to k3s are missing", "change"))
    return (*changes, *_left_staged(effective.facts))


def _left_staged(facts: Facts) -> Tuple[Change, ...]:
    """Return the removal of what was staged and is in place: a run was killed between the two."""
    in_place = {item.sha256 for item in (facts.k3s.binary, *facts.k3s.images) if item is not None}
    return tuple(
        Change(f"remove:{item.path}", "remove-file", item.path, "the staged files are already in place", "change")
        for item in facts.k3s.staged
        if item.sha256 in in_place
    )
