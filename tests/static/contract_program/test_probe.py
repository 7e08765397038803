"""Probing for real, on loopback ports that were free a moment ago."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from productive_k3s.cli import parser
from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.local import LocalSystem
from productive_k3s.doors.system import Port, RemotePort
from productive_k3s.output import result_lines
from productive_k3s.verbs import probe
from productive_k3s.verbs.run import run
from productive_k3s_infra.rehearse.system import SimulatedSystem


@dataclass
class Run:
    """One probe with the real door. Set `stop` to ask it to stop; `listening` is set when it says so."""

    stop: threading.Event = field(default_factory=threading.Event)
    listening: threading.Event = field(default_factory=threading.Event)
    messages: list[str] = field(default_factory=list)

    def _said(self, kind: str, message: str, change: str = "") -> None:
        self.messages.append(message)
        if message == "listening":
            self.listening.set()

    def host(self) -> Host:
        return Host(LocalSystem(), None, self._said, lambda: "SIGTERM" if self.stop.is_set() else "")  # type: ignore[arg-type]

    def listen(self, *ports: str, seconds: float = 60.0) -> Result:
        return run_to_end(probe.listen(self.host(), ports, seconds))

    def connect(self, *ports: str, seconds: float = 2.0) -> Mapping[str, str]:
        result = run_to_end(probe.connect(self.host(), [("127.0.0.1", ports)], seconds))
        assert (result.outcome, list(result.data or {})) == ("done", ["127.0.0.1"])
        answers: Mapping[str, str] = (result.data or {})["127.0.0.1"]
        return answers


def free(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as tried:
        tried.bind(("", 0))
        port: int = tried.getsockname()[1]
        return port


def test_what_is_held_on_one_side_is_reached_from_the_other() -> None:
    ports = (f"tcp/{free()}", f"udp/{free(socket.SOCK_DGRAM)}")
    listener, results = Run(), list[Result]()
    thread = threading.Thread(target=lambda: results.append(listener.listen(*ports)))
    thread.start()
    try:
        assert listener.listening.wait(20)
        assert Run().connect(*ports) == dict.fromkeys(ports, "")
    finally:
        listener.stop.set()
        thread.join(20)
    assert (results[0].outcome, results[0].data) == ("done", dict.fromkeys(ports, ""))
    assert listener.messages[0] == "listening"
    # The ports are free again.
    assert all(Run().connect(*ports).values())


def test_a_port_that_is_taken_is_reported_and_no_failure() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken, other = f"tcp/{holder.getsockname()[1]}", f"tcp/{free()}"
        result = Run().listen(taken, other, seconds=0.0)
    assert result.outcome == "done"
    assert result.data == {taken: "Address already in use", other: ""}


def test_a_taken_udp_port_is_not_shared() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        taken = f"udp/{holder.getsockname()[1]}"
        run = Run()
        assert run.listen(taken).data == {taken: "Address already in use"}
    # Nothing was left to wait for, and the driver still hears the word it waits for.
    assert run.messages == ["listening"]


def test_nobody_there_is_a_cause_for_each_port() -> None:
    tcp, udp = f"tcp/{free()}", f"udp/{free(socket.SOCK_DGRAM)}"
    causes = Run().connect(tcp, udp)
    assert "refused" in causes[tcp]
    assert "refused" in causes[udp]


def test_a_silent_udp_port_is_no_echo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = f"udp/{silent.getsockname()[1]}"
        causes = Run().connect(port, seconds=0.5)
    assert causes[port].startswith("no echo")


def test_strange_datagrams_are_not_answered() -> None:
    port = free(socket.SOCK_DGRAM)
    listener = Run()
    thread = threading.Thread(target=listener.listen, args=(f"udp/{port}",))
    thread.start()
    try:
        assert listener.listening.wait(20)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(("127.0.0.1", port))
            asking.settimeout(10)
            asking.send(b"who are you")
            asking.send(b"productive-k3s probe x")
            assert asking.recv(100) == b"productive-k3s probe x"
    finally:
        listener.stop.set()
        thread.join(20)


@pytest.mark.parametrize("word", ["6443", "tcp/", "tcp/0", "tcp/65536", "icmp/1", "tcp/6443,udp/1", ""])
def test_a_word_that_is_no_port(word: str) -> None:
    with pytest.raises(ContractError) as caught:
        probe.parse_ports([word])
    assert (caught.value.failure.code, caught.value.failure.exit_code) == ("request.port", 2)


def test_ports_are_read_in_order_and_once() -> None:
    found = probe.parse_ports(["udp/8472", " tcp/6443", "udp/8472"])
    assert found == (Port("udp", 8472), Port("tcp", 6443))


def test_who_asks_to_stop_is_heard_before_the_next_ports() -> None:
    run = Run()
    run.stop.set()
    with pytest.raises(ContractError) as caught:
        run.connect("tcp/1")
    assert caught.value.failure.exit_code == 130


class Reaching(SimulatedSystem):
    """Remembers how many places were tried at once, and for how long; nothing answers on UDP."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[tuple[int, float]] = []

    async def reach(self, places: Sequence[RemotePort], timeout: float) -> Mapping[RemotePort, str]:  # noqa: ASYNC109 - the door's
        self.tried.append((len(places), timeout))
        return await super().reach(places, timeout)


def typed(system: SimulatedSystem, *words: str) -> Result:
    """Run the verb as it is typed."""
    host = Host(system, None, lambda *_: None)  # type: ignore[arg-type]
    return run_to_end(run(host, parser().parse_args(["probe", *words])))


def test_several_addresses_in_one_run() -> None:
    system = Reaching()
    system.reachable = {
        RemotePort("a", Port("tcp", 6443)),
        RemotePort("b", Port("udp", 1)),
        RemotePort("a", Port("udp", 2)),
    }
    words = ("--connect", "a", "tcp/6443,tcp/2", "--connect", "b", "udp/1,tcp/6443", "--connect", "a", "udp/2")
    result = typed(system, *words)
    refused = "[Errno 111] Connection refused"
    assert result.data == {
        "a": {"tcp/6443": "", "tcp/2": refused, "udp/2": ""},
        "b": {"udp/1": "", "tcp/6443": refused},
    }
    assert system.tried == [(5, 3.0)]
    assert result_lines(result)[:2] == ["a tcp/6443: ", f"a tcp/2: {refused}"]


@pytest.mark.parametrize(
    ("ports", "seconds", "tried"),
    [
        (1, 10.0, [(1, 3.0)]),
        (64, 2.0, [(64, 2.0)]),
        # 100 hosts: 99 others with two ports each.
        (198, 10.0, [(64, 2.5), (64, 2.5), (64, 2.5), (6, 2.5)]),
        (130, 0.3, [(64, 0.5), (64, 0.5), (2, 0.5)]),
    ],
)
def test_each_port_has_its_share_of_the_time(ports: int, seconds: float, tried: list[tuple[int, float]]) -> None:
    system = Reaching()
    words = ",".join(f"udp/{number + 1}" for number in range(ports))
    result = typed(system, "--connect", "a", words, "--seconds", str(seconds))
    assert system.tried == tried
    assert len((result.data or {})["a"]) == ports
    assert 0 < system.clock.monotonic() < probe.longest_seconds(ports, seconds)


def test_no_ports_take_no_time() -> None:
    assert probe.longest_seconds(0, 10.0) == 0.0


@pytest.mark.parametrize("words", [(), ("--listen", "tcp/1", "--connect", "a", "tcp/1"), ("--connect", "a", "tcp/1,x")])
def test_what_is_neither_or_both_or_no_port_is_refused(words: tuple[str, ...]) -> None:
    result = typed(Reaching(), *words)
    assert [failure.exit_code for failure in result.failures] == [2]
