"""Taints of a Node: one list, in which ours are told by key and effect, written for the Node that was read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import run_to_end
from productive_k3s.doors.kube_http import HttpKube
from productive_k3s.doors.kube_objects import OWN_TAINTS, node_fact
from productive_k3s.effects.taints import set_taints
from productive_k3s.k3s import paths
from productive_k3s.plan.node import Taints, with_taints
from static.contract_program.api_server import ApiServer, Asked
from static.contract_program.simulated import Machine

THEIRS = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2027-01-15T08:00:00Z"}
OURS = {"key": "a", "value": "b", "effect": "NoSchedule"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(tmp_path)
    yield server
    server.stop()


class Node:
    """A Node of an API server: a patch of another resourceVersion is a conflict; `busy` writes come in between."""

    def __init__(self, *taints: dict[str, str], busy: int = 0) -> None:
        self.taints = list(taints)
        self.annotations: dict[str, str] = {}
        self.version = 7
        self.busy = busy

    def respond(self, asked: Asked) -> tuple[int, Any]:
        if asked.method == "GET":
            shown = self.document()
            if self.busy:
                self.busy -= 1
                self.version += 1
            return 200, shown
        assert asked.path == "/api/v1/nodes/node-1?fieldManager=productive-k3s"
        if asked.document["metadata"]["resourceVersion"] != str(self.version):
            return 409, {"kind": "Status", "message": "the object has been modified"}
        self.taints = asked.document["spec"]["taints"]
        noted = asked.document["metadata"]["annotations"][OWN_TAINTS]
        self.annotations = {OWN_TAINTS: noted} if noted else {}
        return 200, self.document()

    def document(self) -> dict[str, Any]:
        metadata = {"name": "node-1", "resourceVersion": str(self.version), "annotations": self.annotations}
        return {"metadata": metadata, "spec": {"taints": self.taints}}


def write(api: ApiServer, taints: Taints) -> None:
    kube = HttpKube(api.kubeconfig(embedded=True))
    try:
        run_to_end(set_taints(kube, "node-1", taints))
    finally:
        # The server waits for its connections when it stops.
        kube.close()


def test_ours_are_replaced_and_noted(api: ApiServer) -> None:
    node = Node(THEIRS, OURS)
    api.respond = node.respond
    write(api, Taints(("c:NoExecute", "a=d:PreferNoSchedule"), ("a:NoSchedule",)))
    assert node.taints == [
        THEIRS,
        {"key": "c", "effect": "NoExecute"},
        {"key": "a", "value": "d", "effect": "PreferNoSchedule"},
    ]
    assert node_fact(node.document()).own_taints == ("c:NoExecute", "a:PreferNoSchedule")
    write(api, Taints((), ("c:NoExecute", "a:PreferNoSchedule")))
    assert (node.taints, node_fact(node.document()).own_taints) == ([THEIRS], None)


def test_a_node_that_was_written_meanwhile_is_read_again(api: ApiServer) -> None:
    node = Node(OURS, busy=2)
    api.respond = node.respond
    write(api, Taints(("c:NoExecute",), ()))
    assert node.taints == [OURS, {"key": "c", "effect": "NoExecute"}]
    assert [asked.method for asked in api.asked] == ["GET", "PATCH"] * 3


def test_the_verb_sets_and_takes_away(api: ApiServer) -> None:
    node = Node(THEIRS, OURS)
    api.respond = node.respond
    kube = HttpKube(api.kubeconfig(embedded=True))
    host = replace(Machine().host(), kube=lambda _: kube)
    host.system.put({paths.ADMIN_KUBECONFIG: "x"})  # type: ignore[attr-defined]
    try:
        flags = parser().parse_args(["node", "taint", "node-1", "c=d:NoExecute", "a:NoSchedule-"])
        first, second = (run_to_end(flags.function(host, flags)) for _ in range(2))
        wrong = parser().parse_args(["node", "taint", "node-1", "c=d"])
        refused = run_to_end(wrong.function(host, wrong))
    finally:
        kube.close()
    assert (first.outcome, second.outcome) == ("done", "unchanged")
    assert node.taints == [THEIRS, {"key": "c", "value": "d", "effect": "NoExecute"}]
    assert [failure.code for failure in refused.failures] == ["request.flag"]


def test_it_does_not_try_for_ever(api: ApiServer) -> None:
    api.respond = Node(busy=1000).respond
    with pytest.raises(ContractError) as caught:
        write(api, Taints(("c:NoExecute",), ()))
    assert caught.value.failure.code == "kube.conflict"


def test_a_taint_that_is_right_stays_as_it_is() -> None:
    there = [{**OURS, "timeAdded": "x"}, THEIRS]
    assert list(with_taints(there, Taints(("a=b:NoSchedule",), ()))) == there
    assert list(with_taints(there, Taints(("a=c:NoSchedule",), ()))) == [THEIRS, {**OURS, "value": "c"}]
