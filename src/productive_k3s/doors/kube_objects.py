"""PURE: objects of the API as facts."""

from __future__ import annotations

import datetime as dt
from typing import Any, Dict, Mapping, Optional, Tuple

from productive_k3s.contract.facts import NodeFact

# Under this name the API remembers which fields are ours (kubernetes.io, Server-Side Apply: field management).
FIELD_MANAGER = "productive-k3s"
# Here it is noted on the Node which taints are ours: `key:Effect`, commas between. They are one list to the API, so
# managed fields cannot tell.
OWN_TAINTS = "productive-k3s.io/taints"
# Here it is noted that an apply cordoned the Node, and not a person: `apply`.
OWN_CORDON = "productive-k3s.io/cordon"
_ROLE = "node-role.kubernetes.io/"


def node_fact(node: Mapping[str, Any], lease: Optional[Mapping[str, Any]] = None) -> NodeFact:
    """Return a Node. Its heartbeat is the newer of two: the Ready condition's, posted every 5 minutes, and the lease's.

    Kubelets renew their lease every 10 s (kubernetes.io, Nodes: heartbeats).
    """
    metadata, spec, status = node.get("metadata", {}), node.get("spec", {}), node.get("status", {})
    conditions = {item.get("type"): item for item in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    labels = {str(key): str(value) for key, value in (metadata.get("labels") or {}).items()}
    addresses = [item["address"] for item in status.get("addresses") or () if item.get("type") == "InternalIP"]
    renewed = (lease or {}).get("spec", {}).get("renewTime", "")
    return NodeFact(
        name=metadata.get("name", ""),
        uid=metadata.get("uid", ""),
        ready=ready.get("status") == "True",
        schedulable=not spec.get("unschedulable", False),
        roles=tuple(sorted(key[len(_ROLE) :] for key in labels if key.startswith(_ROLE))),
        version=status.get("nodeInfo", {}).get("kubeletVersion", ""),
        internal_ip=next(iter(addresses), ""),
        heartbeat=max(unix_seconds(ready.get("lastHeartbeatTime", "")), unix_seconds(renewed)),
        labels=labels,
        taints=tuple(_taint(item) for item in spec.get("taints") or ()),
        etcd_voter=_voter(conditions.get("EtcdIsVoter")),
        pod_cidr=spec.get("podCIDR", ""),
        own_labels=_own_labels(metadata),
        own_taints=_own_taints(metadata),
        own_cordon=is_own_cordon(node),
    )


def is_own_cordon(node: Mapping[str, Any]) -> bool:
    """Whether an apply cordoned the Node: noted there, and who wrote `spec.unschedulable` last is us.

    The note alone may be old: `kubectl uncordon` leaves it, and a later `kubectl cordon` is a person's. The API
    remembers who wrote a field as long as it is there (kubernetes.io, Server-Side Apply: field management).
    """
    metadata, spec = node.get("metadata", {}), node.get("spec") or {}
    if not spec.get("unschedulable") or OWN_CORDON not in (metadata.get("annotations") or {}):
        return False
    ours = [item for item in metadata.get("managedFields") or () if item.get("manager") == FIELD_MANAGER]
    return any("f:unschedulable" in item.get("fieldsV1", {}).get("f:spec", {}) for item in ours)


def _own_labels(metadata: Mapping[str, Any]) -> Tuple[str, ...]:
    ours = [item for item in metadata.get("managedFields") or () if item.get("manager") == FIELD_MANAGER]
    fields = [item.get("fieldsV1", {}).get("f:metadata", {}).get("f:labels", {}) for item in ours]
    return tuple(sorted(key[len("f:") :] for labels in fields for key in labels if key.startswith("f:")))


def _own_taints(metadata: Mapping[str, Any]) -> Optional[Tuple[str, ...]]:
    noted = (metadata.get("annotations") or {}).get(OWN_TAINTS)
    return tuple(filter(None, str(noted).split(","))) if noted is not None else None


def _taint(taint: Mapping[str, Any]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key', '')}{value}:{taint.get('effect', '')}"


def _voter(condition: Optional[Mapping[str, Any]]) -> Optional[bool]:
    return None if condition is None else condition.get("status") == "True"


def unix_seconds(text: Optional[str]) -> float:
    """Return a time of the API (RFC 3339 in UTC, with or without microseconds), 0.0 for none."""
    if not text:
        return 0.0
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    try:
        return dt.datetime.strptime(text, form).replace(tzinfo=dt.timezone.utc).timestamp()
    except ValueError:
        return 0.0


def node_patch(labels: Mapping[str, Optional[str]]) -> Dict[str, Any]:
    """Return the merge patch that sets labels, and removes those that are None."""
    return {"metadata": {"labels": dict(labels)}}


def by_name(objects: Tuple[Mapping[str, Any], ...]) -> Dict[str, Mapping[str, Any]]:
    """Return objects of one kind and name space by name."""
    return {item.get("metadata", {}).get("name", ""): item for item in objects}
