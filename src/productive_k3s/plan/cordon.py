"""PURE: what is written on a Node so that it takes no new pods, or takes them again; and whose cordon it is.

An apply cordons nodes and lifts that again. Everybody else's cordon is a person's, who alone lifts it.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from productive_k3s.doors.kube_objects import OWN_CORDON, is_own_cordon

_APPLY = "apply"


def cordon_patch(node: Mapping[str, Any], *, by_apply: bool) -> Optional[Dict[str, Any]]:
    """Return the merge patch that cordons a Node, for an apply or for a person; None where it is so already.

    A node that is cordoned already stays whose it is where an apply asks; a person's word takes it over.
    """
    cordoned = _is_cordoned(node)
    if by_apply:
        return None if cordoned else _patch(unschedulable=True, noted=_APPLY)
    return None if cordoned and not _is_noted(node) else _patch(unschedulable=True)


def uncordon_patch(node: Mapping[str, Any], *, by_apply: bool) -> Optional[Dict[str, Any]]:
    """Return the merge patch that lifts a cordon: a person any one, an apply its own; None where nothing is to do."""
    if by_apply and not is_own_cordon(node):
        # What an apply noted once is no longer true: somebody else has uncordoned it since.
        return {"metadata": {"annotations": {OWN_CORDON: None}}} if _is_noted(node) else None
    return _patch(unschedulable=None) if _is_cordoned(node) or _is_noted(node) else None


def _patch(*, unschedulable: Optional[bool], noted: Optional[str] = None) -> Dict[str, Any]:
    return {"metadata": {"annotations": {OWN_CORDON: noted}}, "spec": {"unschedulable": unschedulable}}


def _is_cordoned(node: Mapping[str, Any]) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def _is_noted(node: Mapping[str, Any]) -> bool:
    return OWN_CORDON in (node["metadata"].get("annotations") or {})
