"""Note in the cluster for which state a full validation has passed: a later run need not try it again.

What is noted is a digest that the driver makes of what the hosts are made of. Where it is not that of now, or none is
noted, nobody knows that pods run and reach each other, whatever was said of an earlier state.
"""

from __future__ import annotations

from typing import Any, Mapping

from productive_k3s import __version__
from productive_k3s.doors.kube import Kube, KubeReading

NAMESPACE, NAME = "kube-system", "productive-k3s-validated"
_PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"


async def passed_state(kube: KubeReading) -> str:
    """Return the state for which a full validation has passed last, '' if none has."""
    data: Mapping[str, Any] = (await kube.get(_PATH)).get("data") or {}
    return str(data.get("state", ""))


async def note_passed(kube: Kube, state: str) -> None:
    """Note the state; '' notes that the last full validation did not pass."""
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "data": {"state": state, "program": __version__},
    }
    await kube.apply(_PATH, document)
