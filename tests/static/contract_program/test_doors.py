"""The halves of the doors: who is given the reading one cannot change anything."""

from __future__ import annotations

from typing import Any, cast

import pytest

from productive_k3s.doors.host import run_to_end
from productive_k3s.doors.kube import Kube, TrialOnly


class Cluster:
    """Remembers what was changed."""

    def __init__(self) -> None:
        self.changed: list[str] = []

    async def apply(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        self.changed.append(path)
        return document

    async def delete(self, path: str) -> None:
        self.changed.append(path)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nodes/server-1",
        "/api/v1/namespaces/kube-system",
        "/api/v1/namespaces/",
        "/api/v1/namespaces/trial-",
        "/api/v1/namespaces/trial-1/../kube-system/pods/x",
        "/apis/apps/v1/namespaces/trial-1/deployments/x",
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/x",
        "/apis/discovery.k8s.io/v1/namespaces/trial-1/../kube-system/endpointslices/x",
    ],
)
def test_a_trial_changes_nothing_outside_its_namespaces(path: str) -> None:
    cluster = Cluster()
    kube = TrialOnly(cast("Kube", cluster), "trial-")
    with pytest.raises(TypeError, match="belongs to no trial"):
        run_to_end(kube.apply(path, {}))
    with pytest.raises(TypeError, match="belongs to no trial"):
        run_to_end(kube.delete(path))
    assert cluster.changed == []


def test_a_trial_makes_and_deletes_its_own() -> None:
    cluster = Cluster()
    kube = TrialOnly(cast("Kube", cluster), "trial-")
    run_to_end(kube.apply("/api/v1/namespaces/trial-1/pods/x", {}))
    run_to_end(kube.apply("/apis/discovery.k8s.io/v1/namespaces/trial-1/endpointslices/x", {}))
    run_to_end(kube.delete("/api/v1/namespaces/trial-1/pods?gracePeriodSeconds=0"))
    assert cluster.changed == [
        "/api/v1/namespaces/trial-1/pods/x",
        "/apis/discovery.k8s.io/v1/namespaces/trial-1/endpointslices/x",
        "/api/v1/namespaces/trial-1/pods?gracePeriodSeconds=0",
    ]
