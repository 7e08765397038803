"""A restart that is watched: K3s stays up, and the pods that were Ready on the node become so again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from productive_k3s.contract.codec import decode, encode
from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Deadlines, Request, Watch
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.facts.pods import uid_of
from productive_k3s.k3s import paths
from productive_k3s.plan.changes import assess
from productive_k3s.plan.request_rules import mistakes
from productive_k3s.waits.watch import ready_pods, watch_node
from productive_k3s_infra.execute.steps.calls import call_seconds
from productive_k3s_infra.rehearse.system import Command
from static.contract_program.hosts import agent, server
from static.contract_program.running_servers import ready
from static.contract_program.simulated import NOW, LiveMachine
from static.contract_program.systemd import Systemd, do, task_on

UNREACHABLE = Failure("kube.unreachable", "the Kubernetes API does not answer", "connection refused")
WATCH = Watch(30.0)


def pod(name: str, *, is_ready: bool = True, uid: str = "", phase: str = "Running", **metadata: str) -> dict[str, Any]:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}}
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": uid or name, **metadata},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if is_ready else "False"}],
            "containerStatuses": [] if is_ready else [{"name": "web", "state": waiting}],
        },
    }


@dataclass
class Api:
    """What the API says of the node and its pods, from a second on; a failure is raised."""

    now: Any
    pods_at: dict[float, tuple[Mapping[str, Any], ...] | Failure] = field(default_factory=lambda: {0.0: ()})
    nodes_at: dict[float, NodeFact | Failure] = field(default_factory=lambda: {0.0: ready()})
    asked: list[str | None] = field(default_factory=list)

    def _at(self, table: Mapping[float, Any]) -> Any:
        found = table[max(second for second in table if second <= self.now())]
        if isinstance(found, Failure):
            raise ContractError(found)
        return found

    async def node(self, name: str) -> NodeFact | None:
        found: NodeFact = self._at(self.nodes_at)
        return found if name == found.name else None

    async def pods(self, namespace: str | None = None, node: str | None = None) -> tuple[Mapping[str, Any], ...]:
        assert namespace is None
        self.asked.append(node)
        found: tuple[Mapping[str, Any], ...] = self._at(self.pods_at)
        return found


class Watched:
    """A machine whose K3s runs; `restarts` are the seconds at which systemd starts it again."""

    def __init__(self, *restarts: float) -> None:
        self.machine = LiveMachine()
        self.began = self.machine.system.clock.monotonic()
        self.api = Api(self.seconds)
        self.kubeconfigs: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.restarts = restarts
        for unit in ("k3s", "k3s-agent"):
            self.machine.system.script_process(("systemctl", "show", unit), self._show)
        self.machine.system.script("journalctl", stdout='level=fatal msg="strange"\n')

    def seconds(self) -> float:
        return self.machine.system.clock.monotonic() - self.began

    def _show(self, command: Command) -> Any:
        again = sum(1 for second in self.restarts if second <= self.seconds())
        self.machine.units.set("k3s", NRestarts=str(2 + again), InvocationID=f"i{1 + again}")
        return self.machine.units.show(replace(command, argv=("systemctl", "show", "k3s.service")))

    def host(self) -> Host:
        def emit(kind: str, message: str, _: str = "") -> None:
            self.events.append((kind, message))

        return Host(self.machine.system, self._kube, emit)  # type: ignore[arg-type]

    def _kube(self, kubeconfig: str) -> Api:
        self.kubeconfigs.append(kubeconfig)
        return self.api

    def watch(self, before: frozenset[str] | None, watch: Watch = WATCH, request: Request | None = None) -> float:
        """Return after how many seconds it was well."""
        asked = request or agent()
        work = watch_node(self.host(), asked, watch, "node-1", before=before, since=NOW, change="watch:k3s")
        run_to_end(work)
        return self.seconds()

    def failure(self, before: frozenset[str] | None, request: Request | None = None) -> Failure:
        with pytest.raises(ContractError) as caught:
            self.watch(before, request=request)
        return caught.value.failure


def test_it_takes_as_long_as_asked_where_all_is_well() -> None:
    watched = Watched()
    assert WATCH.seconds <= watched.watch(frozenset()) < WATCH.seconds + 2
    assert Watched().watch(frozenset(), Watch(0.0)) < 2.0


def test_a_k3s_that_is_started_again_in_that_time_ends_it_at_once() -> None:
    watched = Watched(12.0)
    found = watched.failure(frozenset())
    assert (found.code, found.evidence) == ("k3s.crash-loop", "strange")
    assert 12.0 <= watched.seconds() < 14.0


def test_one_that_is_started_again_while_its_pods_are_waited_for_ends_it_too() -> None:
    watched = Watched(40.0)
    watched.api.pods_at = {0.0: (pod("web", is_ready=False),)}
    assert watched.failure(frozenset({"web"})).code == "k3s.crash-loop"


def test_a_cause_that_is_known_is_named() -> None:
    watched = Watched(3.0)
    line = 'level=fatal msg="failed to start networking: unable to initialize network policy controller: x"'
    why = 'level=info msg="failed to retrieve configuration from server: not authorized"'
    watched.machine.system.script("journalctl", stdout=f"{line}\n{why}\n")
    assert watched.failure(frozenset()).code == "k3s.token-mismatch"


def test_pods_that_were_ready_are_waited_for() -> None:
    watched = Watched()
    watched.api.pods_at = {0.0: (pod("web", is_ready=False),), 50.0: (pod("web"),)}
    assert 50.0 <= watched.watch(frozenset({"web"})) < 52.0
    assert ("waiting", "pods that were Ready are not: shop/web") in watched.events


@pytest.mark.parametrize(
    "now",
    [
        (),
        (pod("web", uid="another", is_ready=False),),
        (pod("other", is_ready=False),),
        (pod("web", is_ready=False, deletionTimestamp="2027-01-15T08:00:00Z"),),
        (pod("web", is_ready=False, phase="Succeeded"),),
    ],
    ids=["it left", "another in its place", "never was Ready", "it goes", "it has done its work"],
)
def test_what_is_not_there_any_more_is_not_waited_for(now: tuple[dict[str, Any], ...]) -> None:
    watched = Watched()
    watched.api.pods_at = {0.0: now}
    assert watched.watch(frozenset({"web"})) < WATCH.seconds + 2


def test_pods_that_stay_away_are_named_with_what_ails_them() -> None:
    watched = Watched()
    watched.api.pods_at = {0.0: (pod("web", is_ready=False), pod("api", is_ready=False, phase="Failed"))}
    request = agent(deadlines=Deadlines(ready=20.0))
    found = watched.failure(frozenset({"web", "api"}), request)
    assert found.code == "node.pods-not-ready"
    assert found.evidence == "shop/web: web: CrashLoopBackOff: back-off restarting; shop/api: Failed"
    assert 50.0 <= watched.seconds() < 52.0


def test_a_node_that_gets_unready_meanwhile_is_waited_for() -> None:
    watched = Watched()
    watched.api.nodes_at = {0.0: ready(ready=False), 45.0: UNREACHABLE, 60.0: ready()}
    assert 60.0 <= watched.watch(frozenset()) < 62.0
    said = [message for _, message in watched.events]
    assert "node node-1 is no longer Ready" in said
    assert "the API: connection refused" in said


def test_an_agent_is_asked_with_its_kubelets_rights() -> None:
    watched = Watched()
    watched.api.pods_at = {0.0: (pod("web"), pod("new", is_ready=False), pod("old", deletionTimestamp="x"))}
    assert run_to_end(ready_pods(watched.host(), agent(), "node-1", "restart:k3s-agent")) == frozenset({"web"})
    assert (watched.kubeconfigs, watched.api.asked) == ([paths.KUBELET_KUBECONFIG], ["node-1"])


def test_pods_that_nobody_tells_of_are_said_to_be_unknown_and_not_waited_for() -> None:
    watched = Watched()
    watched.api.pods_at = {0.0: UNREACHABLE}
    assert run_to_end(ready_pods(watched.host(), server(), "node-1", "restart:k3s")) is None
    assert watched.kubeconfigs == [paths.ADMIN_KUBECONFIG]
    (event,) = watched.events
    assert event[0] == "note"
    assert "connection refused" in event[1]
    assert watched.watch(None) < WATCH.seconds + 2


def test_a_restart_is_watched_for_the_pods_of_before_it() -> None:
    """Through the effects, as a run makes them: what is Ready is seen before systemd is told."""
    watched = Watched()
    systemd = Systemd(watched.machine)
    order: list[str] = []

    def restarted(command: Command) -> Any:
        order.append(f"restart after {len(watched.api.asked)} looks")
        watched.api.pods_at = {0.0: (pod("web", is_ready=False),), watched.seconds() + 90.0: (pod("web"),)}
        return systemd.tell(command)

    watched.machine.system.script_process(("systemctl", "restart"), restarted)
    watched.machine.system.script_process(("systemctl", "show", "k3s"), systemd.show)
    watched.api.pods_at = {0.0: (pod("web"),)}
    request = server(binary=None, config={"debug": True}, watch=WATCH)
    work = task_on(watched.host(), request, watched.machine.facts(), "new")
    do(work, "restart:k3s")
    assert order == ["restart after 1 looks"]
    watched.machine.units.set("k3s", ActiveState="active")
    began = watched.seconds()
    do(work, "watch:k3s")
    assert 88.0 <= watched.seconds() - began < 93.0


def test_only_a_restart_is_watched() -> None:
    machine = LiveMachine()
    changed = server(binary=None, config={"debug": True}, watch=WATCH)
    found = assess(changed, machine.facts()).changes
    assert [change.id for change in found][-3:] == ["restart:k3s", "wait:k3s", "watch:k3s"]
    assert found[-1].impact == "read"
    assert assess(replace(changed, watch=None), machine.facts()).changes == found[:-1]
    machine.units.set("k3s", ActiveState="inactive", MainPID="0")
    started = [change.id for change in assess(changed, machine.facts()).changes]
    assert started[-2:] == ["start:k3s", "wait:k3s"]


def test_it_travels_and_gives_the_call_its_time() -> None:
    request = agent(watch=WATCH)
    assert decode(Request, json.loads(json.dumps(encode(request, unmask=True)))) == request
    more = call_seconds(request) - call_seconds(agent())
    assert more == WATCH.seconds + request.deadlines.ready


@pytest.mark.parametrize("seconds", [-1.0, 601.0, float("nan")])
def test_a_time_that_nobody_would_wait_is_refused(seconds: float) -> None:
    assert [failure.code for failure in mistakes(agent(watch=Watch(seconds)))] == ["request.watch"]
    assert mistakes(agent(watch=Watch(600.0))) == ()


def test_pods_are_told_apart_by_what_no_other_has() -> None:
    assert uid_of(pod("web", uid="one")) != uid_of(pod("web", uid="two"))
