"""PURE: what separates a host from its request. The host runs this before it changes anything, and pk3s to plan."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import Facts, FileFact, NodeFact, UnitFact
from productive_k3s.contract.failure import Failure
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import secret_digest
from productive_k3s.k3s import paths
from productive_k3s.k3s.config_file import document_digest
from productive_k3s.k3s.header import schema_of
from productive_k3s.k3s.unit_file import environment
from productive_k3s.plan import hosts
from productive_k3s.plan.adoption import as_found
from productive_k3s.plan.compare import (
    Comparison,
    compare,
    environment_differs,
    is_managed,
    is_member,
    own_unit,
    unit_differs,
    unit_is_wrong,
    writes_config,
)
from productive_k3s.plan.render import RenderedFile, files, node_name
from productive_k3s.plan.vetoes import vetoes

# A read-only look at the end of a long list costs nothing, but the program's answer must fit a screen.
_DIFF_LINES = 400


@dataclass(frozen=True)
class Assessment:
    """Vetoes (nothing may be changed), the changes in order, and why nothing is done where nothing is."""

    vetoes: Tuple[Failure, ...]
    changes: Tuple[Change, ...]
    notes: Tuple[str, ...]


def assess(request: Request, facts: Facts, *, planning: bool = False) -> Assessment:
    """Compare by meaning, and say what is to be done, or why it must not.

    While `planning`, a join token that is missing will be filled in before sending; on the host it is a veto.
    """
    found = vetoes(request, facts, planning)
    comparison = compare(request, facts)
    # Tokens come first: a config.yaml that names a token file must never lie there without it.
    files_changed = _files(request, facts, comparison)
    names = hosts.changes(request, facts)
    changes = (*_artifacts(request, facts), *names, *_secrets(request, facts, files_changed), *files_changed)
    unit = own_unit(request, facts)
    service = _service(request, facts, changes, unit)
    return Assessment(
        found, (*changes, *service, *_labels(request, facts)), _notes(request, facts, comparison, (*changes, *service))
    )


def _artifacts(request: Request, facts: Facts) -> Tuple[Change, ...]:
    changes: List[Change] = []
    binary, there = request.binary, facts.k3s.binary
    if binary is not None and (there is None or there.sha256 != binary.sha256):
        reason = f"{request.version} is not installed" if there is None else "the binary differs from the release's"
        changes.append(Change("binary", "install-binary", paths.BINARY, reason, "change"))
    elif facts.k3s.wrong_label:
        reason = f"its SELinux label ({facts.k3s.wrong_label}) is not the policy's; K3s' next start reads it"
        changes.append(Change(f"selinux:{paths.BINARY}", "set-label", paths.BINARY, reason, "change"))
    installed = {item.path: item.sha256 for item in facts.k3s.images}
    for image in request.images:
        path = f"{paths.IMAGES}/{image.name}"
        if installed.get(path) != image.sha256:
            reason = "these images are not here" if path not in installed else "these images differ"
            changes.append(Change(f"image:{image.name}", "install-images", path, reason, "change"))
    # The install script leaves names alone that PATH already has; facts list what this host has of them.
    missing = [name for name in paths.LINKS if f"{paths.BINARY_DIRECTORY}/{name}" not in facts.k3s.links]
    if missing:
        target = " ".join(f"{paths.BINARY_DIRECTORY}/{name}" for name in missing)
        changes.append(Change("links", "make-links", target, "commands beside k3s are missing", "change"))
    return (*changes, *_left_staged(facts))


def _left_staged(facts: Facts) -> Tuple[Change, ...]:
    """Return the removal of what was staged and is in place: a run was killed between the two."""
    in_place = {item.sha256 for item in (facts.k3s.binary, *facts.k3s.images) if item is not None}
    return tuple(
        Change(f"remove:{item.path}", "remove-file", item.path, "what was staged is in place already", "change")
        for item in facts.k3s.staged
        if item.sha256 in in_place
    )


def _files(request: Request, facts: Facts, comparison: Comparison) -> Tuple[Change, ...]:
    there = _files_there(request, facts)
    changes = []
    for file in files(request, facts):
        reason = _why(file, there.get(file.path), request, facts, comparison)
        if reason:
            changes.append(_write(file, there.get(file.path), reason))
    registries = facts.k3s.registries
    if request.registries is None and registries is not None and schema_of(_first_line(registries)):
        reason = "no registries are asked for any more"
        changes.append(Change(f"remove:{registries.path}", "remove-file", registries.path, reason, "change"))
    return tuple(changes)


def _files_there(request: Request, facts: Facts) -> Dict[str, FileFact]:
    unit = own_unit(request, facts)
    there = [*facts.k3s.scripts, *facts.k3s.config_files]
    if facts.k3s.registries is not None:
        there.append(facts.k3s.registries)
    if unit is not None:
        there.extend(unit.environment_files)
        if unit.fragment is not None:
            there.append(unit.fragment)
    return {item.path: item for item in there}


def _why(file: RenderedFile, there: Optional[FileFact], request: Request, facts: Facts, comparison: Comparison) -> str:
    """Return why a file has to be written, '' if it says the same already."""
    if there is None:
        if file.path == paths.CONFIG and is_member(facts) and not writes_config(comparison, facts):
            return ""
        # K3s runs the same without an empty environment file.
        return "" if not file.text and is_member(facts) else "it is not there"
    if file.path == paths.CONFIG:
        by = "" if is_managed(facts) else "somebody else wrote it; "
        return f"{by}differs in {', '.join(comparison.file)}" if comparison.file else ""
    if file.path == paths.unit_file(request.unit):
        return _why_unit(request, facts, comparison)
    if file.path == paths.REGISTRIES:
        return "" if _same_registries(file, facts) else "the registries differ"
    if file.path in (paths.KILLALL, paths.uninstall_script(request.unit)):
        # Upstream's scripts do the same: only our own older text is replaced.
        ours = bool(schema_of(_second_line(there)))
        return "a newer text exists" if ours and there.sha256 != file.sha256 else ""
    return _why_environment(there, request, facts, comparison)


def _why_environment(there: FileFact, request: Request, facts: Facts, comparison: Comparison) -> str:
    if comparison.moves and comparison.in_environment:
        return f"flags in the environment move to config.yaml or go: {', '.join(comparison.in_environment)}"
    if not environment_differs(request, facts):
        return ""
    return f"the environment differs (now: {', '.join(sorted(environment(there.text or ''))) or 'empty'})"


def _why_unit(request: Request, facts: Facts, comparison: Comparison) -> str:
    if comparison.moves and comparison.on_unit:
        return f"flags on the unit move to config.yaml or go: {', '.join(comparison.on_unit)}"
    differs = unit_differs(request, facts) if comparison.takes_over else unit_is_wrong(request, facts)
    return "its directives differ from the install script's" if differs else ""


def _same_registries(file: RenderedFile, facts: Facts) -> bool:
    return facts.k3s.on_disk is not None and facts.k3s.on_disk.registries == document_digest(file.text)


def _first_line(file: FileFact) -> str:
    return (file.text or "").partition("\n")[0]


def _second_line(file: FileFact) -> str:
    return "\n".join((file.text or "").splitlines()[:2])


def _write(file: RenderedFile, there: Optional[FileFact], reason: str) -> Change:
    before = (there.text or "") if there is not None else ""
    after = file.shown(file.text)
    diff: Tuple[str, ...] = ()
    if after is not None and not file.path.endswith(".sh"):
        names = {"fromfile": file.path, "tofile": file.path}
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2, **names)
        diff = tuple(lines)[:_DIFF_LINES]
    return Change(f"write:{file.path}", "write-file", file.path, reason, "change", diff)


def _secrets(request: Request, facts: Facts, files_changed: Tuple[Change, ...]) -> Tuple[Change, ...]:
    there = {token.path: token for token in facts.k3s.tokens}
    # A member that reads its token elsewhere keeps doing so until its config.yaml is written.
    named = is_managed(facts) or any(change.target == paths.CONFIG for change in files_changed)
    wanted = (paths.SERVER_TOKEN, paths.AGENT_TOKEN) if request.role == "server" else (paths.AGENT_TOKEN,)
    missing = tuple(_secret(path, "it is not there; it is made once") for path in wanted if path not in there)
    if missing or request.role == "server":
        return missing if named else ()
    unit = own_unit(request, facts)
    joined = unit is not None and unit.active_state == "active"
    given = request.join.token if request.join is not None else None
    if given is not None and not joined and there[paths.AGENT_TOKEN].sha256 != secret_digest(given.unmask()):
        return (_secret(paths.AGENT_TOKEN, "another token was given, and this agent has not joined"),)
    return ()


def _secret(path: str, reason: str) -> Change:
    return Change(f"secret:{path}", "write-secret", path, reason, "change")


def _service(
    request: Request, facts: Facts, before: Tuple[Change, ...], unit: Optional[UnitFact]
) -> Tuple[Change, ...]:
    name = request.unit
    changes = []
    stopped = unit is None or unit.active_state in ("inactive", "failed", "deactivating")
    why = "" if _is_joining(request, unit) else _why_restart(facts, before, unit)
    if stopped:
        reason = "it does not run" if unit is not None and unit.started else "it was never started"
        changes.append(Change(f"start:{name}", "start-unit", name, reason, "change"))
    elif why:
        changes.append(Change(f"restart:{name}", "restart-unit", name, why, "disrupt"))
    if unit is None or not unit.enabled:
        # After the start: it makes systemd read all units anew, which takes time that K3s can use.
        changes.append(Change(f"enable:{name}", "enable-unit", name, "it shall start at boot", "change"))
    if stopped or why or not _is_up(request, facts, unit):
        reason = "until the node is Ready" if stopped or why else "it was started, and the node is not Ready yet"
        changes.append(Change(f"wait:{name}", "wait-ready", name, reason, "read"))
    return tuple(changes)


def _is_joining(request: Request, unit: Optional[UnitFact]) -> bool:
    # Stopping a server in the middle of its join can cost the others their quorum (seen on v1.34.3); where it fails,
    # systemd starts it again every 5 s, and then it reads the new files.
    joins = request.role == "server" and request.join is not None
    return joins and unit is not None and unit.active_state == "activating"


def _why_restart(facts: Facts, before: Tuple[Change, ...], unit: Optional[UnitFact]) -> str:
    written = [change.target for change in before if _needs_restart(change)]
    if written:
        return f"K3s reads {', '.join(written)} at its start"
    if unit is not None and unit.need_daemon_reload and facts.k3s.running is None:
        return "the unit changed since it was started"
    running, on_disk = facts.k3s.running, facts.k3s.on_disk
    if running is None or on_disk is None:
        return ""
    if running.source == "unknown" or running.digests is None:
        return "files changed after its start, and nobody recorded what it was started with"
    differing = [
        name
        for name in ("binary", "config", "environment", "unit", "registries")
        if getattr(running.digests, name) != getattr(on_disk, name)
    ]
    return f"it runs with another {' and '.join(differing)} than lies on disk" if differing else ""


def _needs_restart(change: Change) -> bool:
    if change.action in ("install-binary", "write-secret"):
        return True
    read_at_start = not change.target.startswith(f"{paths.STAGED}/") and not change.target.endswith(".sh")
    return change.action in ("write-file", "remove-file") and read_at_start


def _is_up(request: Request, facts: Facts, unit: Optional[UnitFact]) -> bool:
    if unit is None or unit.active_state != "active":
        return False
    if request.role == "agent":
        return True
    node = own_node(request, facts)
    return node is not None and node.ready


def own_node(request: Request, facts: Facts) -> Optional[NodeFact]:
    """Return this host's Node, where the API was asked and has it."""
    nodes = facts.cluster.nodes if facts.cluster is not None else ()
    return next((node for node in nodes if node.name == node_name(request, facts)), None)


def label_differences(request: Request, facts: Facts) -> Dict[str, Optional[str]]:
    """Return the labels of this host's Node that are to be set, or removed (None).

    Removed are only our own: those of the file with which the node joined, and those set later through the API.
    """
    node = own_node(request, facts)
    if node is None:
        return {}
    wrong: Dict[str, Optional[str]] = {
        key: value for key, value in request.labels.items() if node.labels.get(key) != value
    }
    joined_with = [str(item).partition("=")[0] for item in facts.k3s.config.get("node-label", ())]
    for key in (*joined_with, *node.own_labels):
        if key in node.labels and key not in request.labels:
            wrong[key] = None
    return wrong


def _labels(request: Request, facts: Facts) -> Tuple[Change, ...]:
    wrong = label_differences(request, facts)
    if not wrong:
        return ()
    name = node_name(request, facts)
    said = ", ".join(f"{key}={value}" if value is not None else f"{key} goes" for key, value in sorted(wrong.items()))
    return (Change(f"label:{name}", "label-node", name, f"labels differ: {said}", "change"),)


def _notes(request: Request, facts: Facts, comparison: Comparison, changes: Tuple[Change, ...]) -> Tuple[str, ...]:
    notes = []
    if not changes:
        notes.append(f"{request.version} runs as asked")
    notes.extend(f"{path} also sets {key}" for key, path in sorted(comparison.extra.items()))
    notes.extend(as_found(request, facts, comparison))
    if facts.k3s.datastore == "sqlite" and request.role == "server" and request.datastore == "etcd":
        notes.append("the datastore is SQLite and stays so: it is chosen at the first start")
    node = own_node(request, facts)
    if node is not None and request.taints and not set(request.taints) <= set(node.taints):
        notes.append("taints are read when a node joins: change them with kubectl taint")
    if facts.k3s.leftovers and facts.k3s.role is None:
        notes.append(f"left by an earlier K3s: {', '.join(facts.k3s.leftovers)}")
    return tuple(notes)
