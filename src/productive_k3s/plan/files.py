"""PURE: the files that have to be written or removed, each with its reason and a diff of what may be shown."""

from __future__ import annotations

import difflib
from typing import Iterator, List, Optional, Tuple

from productive_k3s.contract.change import Change
from productive_k3s.contract.facts import FileFact
from productive_k3s.k3s import paths
from productive_k3s.k3s.config_file import document_digest
from productive_k3s.plan.compare import Comparison
from productive_k3s.plan.desired import Desired
from productive_k3s.plan.effective import Effective
from productive_k3s.plan.render import RenderedFile

# A read-only look at the end of a long list costs nothing, but the program's answer must fit a screen.
_DIFF_LINES = 400


def file_changes(desired: Desired, effective: Effective, comparison: Comparison) -> Tuple[Change, ...]:
    """Return what brings the files to what is desired, in the order in which they are written."""
    changes: List[Change] = []
    for file in desired.files:
        there = effective.files.get(file.path)
        reason = _why(file, there, desired, effective, comparison)
        if reason:
            changes.append(_write(file, there, reason))
    return (*changes, *_removals(desired, effective))


def _removals(desired: Desired, effective: Effective) -> Iterator[Change]:
    registries = effective.facts.k3s.registries
    if desired.registries is None and registries is not None and registries.schema:
        yield _remove(registries.path, "registries are no longer configured")
    wanted = {file.path for file in desired.files}
    for file in effective.facts.k3s.files:
        # The folder is ours alone; a template of containerd's may be somebody else's.
        ours = file.path.startswith(f"{paths.FILES}/") or file.schema
        if ours and file.path not in wanted:
            yield _remove(file.path, "the file is no longer needed")


def _remove(path: str, reason: str) -> Change:
    return Change(f"remove:{path}", "remove-file", path, reason, "change")


def _why(
    file: RenderedFile,
    there: Optional[FileFact],
    desired: Desired,
    effective: Effective,
    comparison: Comparison,
) -> str:
    """Return why a file has to be written, '' if it says the same already."""
    if there is None:
        return _why_missing(file, desired, effective, comparison)
    if file.path == paths.CONFIG:
        by = "" if effective.is_ours else "not written by productive-k3s; "
        return f"{by}differs in {', '.join(comparison.file)}" if comparison.file else ""
    if file.path == paths.unit_file(desired.request.unit):
        return _why_unit(comparison)
    if file.path == paths.REGISTRIES:
        return "" if _same_registries(desired, effective) else "the registries differ"
    if file.path in (paths.KILLALL, paths.uninstall_script(desired.request.unit)):
        # Upstream's scripts do the same: only our own older text is replaced.
        return "its text has changed" if there.schema and there.sha256 != file.sha256 else ""
    if file.path == paths.environment_file(desired.request.unit):
        return _why_environment(desired, effective, comparison)
    by = "not written by productive-k3s; " if file.path not in _ours(effective) else ""
    return f"{by}its content differs" if there.sha256 != file.sha256 else ""


def _why_missing(file: RenderedFile, desired: Desired, effective: Effective, comparison: Comparison) -> str:
    if effective.is_member and file.path == paths.CONFIG and not comparison.writes_config:
        return ""
    if effective.was_made_by_others and file.path == paths.CONFIG:
        return _why_taken_over(comparison)
    # K3s runs the same without an empty environment file.
    is_empty = file.path == paths.environment_file(desired.request.unit) and not desired.variables
    return "" if effective.is_member and is_empty else "it does not exist"


def _why_taken_over(comparison: Comparison) -> str:
    """Return why somebody else's K3s gets a config.yaml: for what was asked, and then all of it."""
    moved = "flags on the unit and in its environment move here" if comparison.moves else ""
    asked = f"K3s differs from the request in {', '.join(comparison.asked)}" if comparison.asked else ""
    return "; ".join(filter(None, (asked, moved)))


def _ours(effective: Effective) -> Tuple[str, ...]:
    found = effective.facts.k3s.files
    return tuple(item.path for item in found if item.path.startswith(f"{paths.FILES}/") or item.schema)


def _why_environment(desired: Desired, effective: Effective, comparison: Comparison) -> str:
    if comparison.moves and comparison.in_environment:
        return f"flags in the environment move to config.yaml or are removed: {', '.join(comparison.in_environment)}"
    if not comparison.environment_differs:
        return ""
    now, asked = sorted(effective.variables or ()), sorted(desired.comparable_variables)
    return f"the environment differs (now: {', '.join(now) or 'empty'}; requested: {', '.join(asked) or 'empty'})"


def _why_unit(comparison: Comparison) -> str:
    if comparison.moves and comparison.on_unit:
        return f"flags on the unit move to config.yaml or are removed: {', '.join(comparison.on_unit)}"
    differs = comparison.unit_differs if comparison.takes_over else comparison.rewrites_unit
    return "its directives differ from the install script's" if differs else ""


def _same_registries(desired: Desired, effective: Effective) -> bool:
    on_disk = effective.facts.k3s.on_disk
    return on_disk is not None and on_disk.registries == document_digest(desired.registries)


def _write(file: RenderedFile, there: Optional[FileFact], reason: str) -> Change:
    before = (there.text or "") if there is not None else ""
    after = None if file.path.endswith(".sh") else file.shown(file.text)
    diff: Tuple[str, ...] = ()
    if after is not None:
        names = {"fromfile": file.path, "tofile": file.path}
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2, **names)
        diff = tuple(lines)[:_DIFF_LINES]
    return Change(f"write:{file.path}", "write-file", file.path, reason, "change", diff)
