"""PURE: does somebody do the work of the controller manager and the scheduler?

With etcd or an external datastore they elect a leader, also on a lone server (k3s-io/k3s, pkg/cluster/managed.go:
NoLeaderElect). After a restart nobody leads until the lease of the process before has ended, 15 s after its last
renewal: that is no fault, and nothing here waits for it.
"""

from __future__ import annotations

from typing import Any, Mapping, Tuple

from productive_k3s.checks.host import config_words
from productive_k3s.checks.judgement import failed, passed
from productive_k3s.contract.events import CheckResult
from productive_k3s.contract.facts import K3sFacts
from productive_k3s.doors.kube_objects import unix_seconds

CHECK = "system.controllers"
_NAMES = ("kube-controller-manager", "kube-scheduler")
_NAMESPACE = "kube-system"
_DEFAULT_LEASE_SECONDS = 15.0
# A new process asks every 2 s, and the clocks of several servers differ a little.
_LATE_SECONDS = 30.0


def elected(k3s: K3sFacts) -> Tuple[str, ...]:
    """Return those that elect a leader here, by the names of their leases."""
    if k3s.datastore not in ("etcd", "external"):
        return ()
    return tuple(name for name in _NAMES if "leader-elect=false" not in config_words(k3s.config, f"{name}-arg"))


def lease_path(name: str) -> str:
    """Return the API path of a component's lease."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{_NAMESPACE}/leases/{name}"


def trouble(leases: Mapping[str, Mapping[str, Any]], now: float) -> str:
    """Return who has had no leader for too long, '' if nobody. A lease that is not there says nothing."""
    for name, lease in leases.items():
        spec = lease.get("spec", {})
        renewed = unix_seconds(spec.get("renewTime"))
        lasts = float(spec.get("leaseDurationSeconds") or _DEFAULT_LEASE_SECONDS)
        if renewed and now - renewed > lasts + _LATE_SECONDS:
            holder = spec.get("holderIdentity") or "nobody"
            return f"{name} has had no leader for {now - renewed - lasts:.0f} s; the last one was {holder}"
    return ""


def judge_controllers(leases: Mapping[str, Mapping[str, Any]], now: float) -> Tuple[CheckResult, ...]:
    """Return one check, none where nobody is elected."""
    there = {name: lease for name, lease in leases.items() if lease}
    if not there:
        return ()
    why = trouble(there, now)
    if not why:
        return (passed(CHECK, _NAMESPACE, f"{' and '.join(there)} have a leader"),)
    what = "the cluster's controllers are not working"
    return (failed(CHECK, _NAMESPACE, what, why, "see journalctl -u k3s on the servers"),)
