"""Waits on virtual time: several successes in a row, fresh heartbeats, early ends, ranked causes at the deadline."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest

from productive_k3s.contract.facts import NodeFact
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Deadlines, Join, Request
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.questions import Question, command_of
from productive_k3s.doors.system import Completed
from productive_k3s.waits.ready import wait_until_ready
from static.contract_program.hosts import agent, server

_NODE = NodeFact("node-1", "uid", True, True, (), "v1.34.4+k3s1", "10.0.0.11", 2000.0, etcd_voter=True)
_TOKEN_LINE = 'level=info msg="failed to retrieve configuration from server: not authorized"'


@dataclass
class Scripted:
    """A host on which things happen at given seconds: `states` and `nodes` hold from their second on."""

    states: dict[float, str] = field(default_factory=lambda: {0.0: "active"})
    nodes: dict[float, NodeFact | Failure | None] = field(default_factory=lambda: {0.0: _NODE})
    journal: tuple[str, ...] = ()
    restarts_per_second: float = 0.0
    exit_status: int = 1
    time: float = 0.0
    commands: list[str] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)

    def _now(self, table: dict[float, object]) -> object:
        return table[max(second for second in table if second <= self.time)]

    async def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    async def ask(self, question: Question, *words: str) -> Completed:
        argv = command_of(question, words).argv
        self.commands.append(" ".join(argv[:2]))
        if argv[0] == "journalctl":
            return Completed(0, "\n".join(self.journal), "")
        assert argv[:2] == ("systemctl", "show")
        restarts = int(self.time * self.restarts_per_second)
        state = self._now(self.states)  # type: ignore[arg-type]
        text = f"ActiveState={state}\nSubState=x\nNRestarts={restarts}\nInvocationID=i\n"
        text += f"ExecMainStatus={self.exit_status}\n"
        return Completed(0, text, "")

    async def node(self, name: str) -> NodeFact | None:
        found = self._now(self.nodes)  # type: ignore[arg-type]
        if isinstance(found, Failure):
            raise ContractError(found)
        assert found is None or isinstance(found, NodeFact)
        return found if name == "node-1" else None


def wait(host: Scripted, request: Request, stop: str = "") -> float:
    doors = Host(
        host,  # type: ignore[arg-type]
        lambda _: host,  # type: ignore[arg-type,return-value]
        lambda kind, message, change="": host.events.append((host.time, message)),
        lambda: stop,
    )
    run_to_end(wait_until_ready(doors, request, "node-1", 2000.0, "wait:k3s"))
    return host.time


def failure(host: Scripted, request: Request) -> Failure:
    with pytest.raises(ContractError) as caught:
        wait(host, request)
    return caught.value.failure


def test_ready_must_hold_several_times() -> None:
    down = replace(_NODE, ready=False)
    host = Scripted(nodes={0.0: _NODE, 0.15: down, 5.0: _NODE})
    assert 5.2 <= wait(host, server()) < 5.5


def test_an_old_heartbeat_does_not_count() -> None:
    host = Scripted(nodes={0.0: replace(_NODE, heartbeat=1990.0), 4.0: _NODE})
    assert wait(host, server()) == pytest.approx(4.2)


def test_a_node_that_is_missing_for_seconds_is_waited_for() -> None:
    assert wait(Scripted(nodes={0.0: None, 3.0: _NODE}), agent()) == pytest.approx(3.2)


def test_a_joined_server_must_be_a_voter() -> None:
    wish = server(join=Join("https://10.0.0.12:6443"))
    assert wait(Scripted(nodes={0.0: replace(_NODE, etcd_voter=None), 9.0: _NODE}), wish) == pytest.approx(9.2)
    assert wait(Scripted(nodes={0.0: replace(_NODE, etcd_voter=None)}), server()) == pytest.approx(0.2)


def test_something_is_said_every_two_seconds() -> None:
    host = Scripted(states={0.0: "activating", 20.0: "active"})
    wait(host, server())
    times = [second for second, _ in host.events]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 2.0


def test_a_wrong_token_ends_early_with_its_cause() -> None:
    host = Scripted(states={0.0: "activating"}, journal=(_TOKEN_LINE,))
    found = failure(host, agent())
    assert (found.code, found.exit_code) == ("k3s.token-mismatch", 5)
    assert host.time < 15.0


def test_a_cause_that_passes_is_waited_out() -> None:
    host = Scripted(states={0.0: "activating", 5.0: "active"}, journal=(_TOKEN_LINE,))
    assert wait(host, agent()) == pytest.approx(5.2)


def test_a_crash_loop_without_a_known_cause() -> None:
    host = Scripted(states={0.0: "activating"}, journal=('level=fatal msg="strange"',), restarts_per_second=0.2)
    found = failure(host, server())
    assert found.code == "k3s.crash-loop"
    assert found.evidence == "strange"
    assert host.time < 60.0


def test_an_old_version_is_waited_for_after_a_restart() -> None:
    old = replace(_NODE, version="v1.33.0+k3s1")
    assert wait(Scripted(nodes={0.0: old, 6.0: _NODE}), server()) == pytest.approx(6.2)
    # What never changes is the validation's to say, with the node's name: the wait does not end with it.
    assert 30.0 <= wait(Scripted(nodes={0.0: old}), server()) < 32.0


def test_ending_with_status_0_after_being_active_is_a_crash_loop_too() -> None:
    states = {float(second): ("active" if second % 8 < 3 else "activating") for second in range(500)}
    why = "kubelet exited: initialize logging: unrecognized feature gate"
    journal = (
        f'time="x" level=error msg="Shutdown request received: \\"{why}\\""',
        "k3s.service: Scheduled restart job, restart counter is at 3.",
        'time="y" level=error msg="Sending HTTP/1.1 503 response to 127.0.0.1:51234: runtime core not ready"',
    )
    host = Scripted(states=states, nodes={0.0: None}, journal=journal, restarts_per_second=0.125, exit_status=0)
    found = failure(host, server())
    assert found.code == "k3s.crash-loop"
    assert "status 0" in found.what
    assert why in found.evidence
    assert host.time < 60.0


def test_the_deadline_ends_in_a_diagnosis_and_stops_nothing() -> None:
    line = 'level=error msg="failed to get CA certs: connection reset by peer"'
    host = Scripted(states={0.0: "activating"}, journal=(line,))
    found = failure(host, agent(deadlines=Deadlines(start=20.0, ready=10.0)))
    assert found.code == "k3s.unreachable-server"
    assert "after 30 s" in found.what
    assert set(host.commands) == {"systemctl show", "journalctl -u"}


def test_the_deadline_without_a_cause_says_what_was_missing() -> None:
    refused = Failure("kube.unreachable", "the API is away", "connection refused")
    host = Scripted(nodes={0.0: refused}, journal=('level=info msg="busy"',))
    found = failure(host, server(deadlines=Deadlines(start=5.0, ready=5.0)))
    assert found.code == "k3s.start-timeout"
    assert "connection refused" in found.what
    assert found.evidence == "busy"


def test_who_asks_to_stop_is_heard_while_waiting() -> None:
    with pytest.raises(ContractError) as caught:
        wait(Scripted(states={0.0: "activating"}), server(), stop="SIGTERM")
    assert caught.value.failure.exit_code == 130
