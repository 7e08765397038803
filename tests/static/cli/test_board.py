"""What a terminal shows while 40 hosts are worked on, as an emulator of one draws it, and what a log has of it.

The events are those of a whole apply over hosts in memory. `pytest --golden` writes the screens that this finds.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from productive_k3s.contract.events import Result
from productive_k3s_infra.cli.app import app
from productive_k3s_infra.cli.board import Board
from productive_k3s_infra.cli.terminal import Terminal
from productive_k3s_infra.errors import HostUnreachable
from productive_k3s_infra.operations.apply import apply
from productive_k3s_infra.operations.destroy import destroy
from productive_k3s_infra.operations.plan import make_plan
from productive_k3s_infra.operations.status import get_status
from productive_k3s_infra.plan.model import Plan
from static.fleet_doubles import Call
from static.operations.bed import Person, World, enter
from static.plan.clusters import spec

NODES = ("cordon", "drain", "uncordon")
SCREENS = Path(__file__).with_name("screens")
AGENTS = 39
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3\dm")
Event = Callable[["Terminal"], object]


class Recorder(Person):
    """Keeps the events, so that they can be told to a terminal at any pace."""

    def __init__(self) -> None:
        super().__init__(unattended=True)
        self.events: list[tuple[str, Event]] = []
        self.then: list[str] = []

    def started(self, subject: str, activity: str) -> None:
        self.events.append(("started", lambda terminal: terminal.started(subject, activity)))

    def progressed(self, subject: str, activity: str) -> None:
        self.events.append(("progressed", lambda terminal: terminal.progressed(subject, activity)))

    def finished(self, subject: str, activity: str, seconds: float, *, failed: bool = False) -> None:
        self.events.append(("finished", lambda terminal: terminal.finished(subject, activity, 12.0, failed=failed)))

    def agree(self, plan: Plan) -> bool:
        self.events.append(("agree", lambda terminal: terminal.agree(plan)))
        return True

    def expect(self, plan: Plan, then: str = "") -> None:
        self.then.append(then)
        self.events.append(("expect", lambda terminal: terminal.expect(plan, then)))


class Tty(io.StringIO):
    """A terminal of a size, with an emulator behind it."""

    def __init__(self, width: int, height: int) -> None:
        import pyte

        super().__init__()
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.Stream(self.screen)
        self.clear()

    def clear(self) -> None:
        """Have an empty screen, on which a line's end begins the next one, as a terminal's driver has it."""
        from pyte.modes import LNM

        self.screen.reset()
        self.screen.set_mode(LNM)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text)
        return super().write(text)

    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]


class Ascii(Tty):
    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "ascii"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _joins(world: World, call: Call) -> Result:
    """An agent takes its time: some are slower."""
    call.say("install /usr/local/bin/k3s (v1.34.4+k3s1 is not installed)")
    await asyncio.sleep(0)
    call.say("wait for k3s-agent (until the node is Ready)")
    for _ in range(int(call.host.partition("-")[2]) % 7):
        await asyncio.sleep(0)
        call.say("wait for k3s-agent (until the node is Ready)")
    return world._apply(call)


@pytest.fixture
async def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Event]]:
    """The events of an apply on 40 empty hosts."""
    world, person = World(tmp_path, spec(AGENTS)), Recorder()
    world.instead["agent"] = lambda call: _joins(world, call)  # type: ignore[assignment,return-value]
    world.session.__dict__["interaction"] = person
    enter(world, monkeypatch)
    await apply(world.session, probe=False)
    return person.events


class Played:
    """A terminal to which events are told, one a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tty: Tty, **environment: str) -> None:
        monkeypatch.setattr(sys, "stderr", tty)
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        size = {"COLUMNS": str(tty.screen.columns), "LINES": str(tty.screen.lines), "TERM": "xterm-256color"}
        for name, value in {**size, **environment}.items():
            monkeypatch.setenv(name, value)
        self.tty, self.clock = tty, Clock()
        self.terminal = Terminal(assume_yes=True, clock=self.clock)

    def play(self, events: Iterator[tuple[str, Event]], *, until: Callable[[str], bool]) -> list[str]:
        """Tell events until one of a kind comes, and return the screen then."""
        for kind, event in events:
            event(self.terminal)
            self.clock.now += 1
            if until(kind):
                break
        self.terminal.refresh()
        return self.tty.shown()


def after(count: int, kind: str) -> Callable[[str], bool]:
    """Whether a kind has come so often."""
    left = [count]

    def over(seen: str) -> bool:
        left[0] -= seen == kind
        return left[0] == 0

    return over


def compare(name: str, screen: list[str], request: pytest.FixtureRequest) -> None:
    golden = SCREENS / f"{name}.txt"
    found = "\n".join(screen).rstrip("\n") + "\n"
    if request.config.getoption("--golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(found)
    assert found == golden.read_text()


@pytest.mark.parametrize(
    ("kind", "size"), [(Tty, (80, 24)), (Tty, (40, 12)), (Ascii, (80, 24))], ids=("80x24", "40x12", "ascii-80x24")
)
async def test_forty_hosts_on_a_small_screen(
    recorded: list[tuple[str, Event]],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kind: type[Tty],
    size: tuple[int, int],
) -> None:
    """While all are looked at, while agents join, and at the end: nothing of what is over stands in the way."""
    tty, name = kind(*size), request.node.callspec.id
    played, events = Played(monkeypatch, tty), iter(recorded)
    compare(f"{name}-looks", played.play(events, until=after(17, "finished")), request)
    played.play(events, until=after(1, "agree"))
    tty.clear()
    compare(f"{name}-joins", played.play(events, until=after(15, "finished")), request)
    last = played.play(events, until=lambda _: False)
    played.terminal.close()
    compare(f"{name}-end", tty.shown(), request)
    assert last


async def test_a_destroy_says_how_many_are_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some hosts are worked on at once, and their number is not that of all."""
    world, person = World(tmp_path, spec(AGENTS)), Recorder()
    world.session.__dict__["interaction"] = person
    enter(world, monkeypatch)
    await apply(world.session, probe=False)
    person.events.clear()
    await destroy(world.session)
    played = Played(monkeypatch, Tty(80, 24))
    steps = itertools.dropwhile(lambda event: event[0] != "expect", person.events)
    screen = played.play(steps, until=after(6, "started"))
    assert screen[0] == "  uninstall K3s: 5 of 40"


@pytest.mark.parametrize(("limit", "then"), [(frozenset[str](), "validate"), (frozenset({"agent-1"}), "")])
async def test_what_follows_the_steps_is_known_before(
    limit: frozenset[str], then: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole apply validates the cluster once its steps are done, one of some nodes does not."""
    if limit:
        assert (await apply(world.session, probe=False)).exit_code == 0
        world.facts["agent-1"] = world.before.facts["agent-1"]
    person = Recorder()
    world.session.__dict__["interaction"] = person
    await apply(world.session, probe=False, limit=limit)
    assert set(person.then) == {then}
    played = Played(monkeypatch, Tty(80, 24))
    steps = itertools.dropwhile(lambda event: event[0] != "expect", person.events)
    shown = played.play(steps, until=after(1, "started"))
    assert [line for line in shown if line.startswith("    then ")] == ([f"    then {then}"] if then else [])


def test_every_verb_shows_what_it_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also those whose result is one line: whoever waits for a host sees for which."""

    class Opened(Exception):
        pass

    quiet: dict[str, bool] = {}

    def opened(*, quiet: bool = False, **_: object) -> None:
        raise Opened(quiet)

    for module in ("app", "kubeconfig", "nodes", "status"):
        monkeypatch.setattr(f"productive_k3s_infra.cli.{module}.open_terminal", opened)
        monkeypatch.setattr(f"productive_k3s_infra.cli.{module}.finish", lambda run: run())
    for verb in ("plan", "apply", "status", "validate", "kubeconfig", "inventory", "support", "destroy", *NODES):
        ended = CliRunner().invoke(app, [verb, *(["agent-1"] if verb in NODES else [])])
        assert isinstance(ended.exception, Opened), (verb, ended.output)
        quiet[verb] = ended.exception.args[0]
    assert {verb for verb, silent in quiet.items() if silent} == set()


async def test_no_colour_leaves_the_board(
    recorded: list[tuple[str, Event]], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    played = Played(monkeypatch, Tty(80, 24), NO_COLOR="1")
    compare("80x24-looks", played.play(iter(recorded), until=after(17, "finished")), request)
    assert not COLOUR.search(played.tty.getvalue())
    coloured = Played(monkeypatch, Tty(80, 24))
    coloured.play(iter(recorded), until=after(17, "finished"))
    assert COLOUR.search(coloured.tty.getvalue())


async def test_a_dumb_terminal_is_a_log(recorded: list[tuple[str, Event]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing moves: no escape sequence is written."""
    played = Played(monkeypatch, Tty(80, 24), TERM="dumb")
    played.play(iter(recorded), until=lambda _: False)
    assert "\x1b" not in played.tty.getvalue()
    assert "  done agent-12         agent  12.0 s" in played.tty.getvalue().splitlines()


def log_of(events: list[tuple[str, Event]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    terminal = Terminal(assume_yes=True)
    for kind, event in events:
        if kind != "agree":
            event(terminal)
    terminal.close()
    return written.getvalue().splitlines()


async def test_a_log_has_one_line_an_event_and_no_word_twice(
    recorded: list[tuple[str, Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = log_of(recorded, monkeypatch)
    words = [line.rsplit("  ", 1)[0] for line in lines]
    assert len([line for line in words if "until the node is Ready" in line]) == AGENTS
    assert len(words) == len(set(words))
    assert [line for line in words if "look:" in line] == ["  done look: 40 hosts"]


def test_words_that_differ_in_a_number_are_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 700 MB is verified in ten pieces: one line says it."""
    events: list[tuple[str, Event]] = [("", lambda terminal: terminal.started("v1.36.4", "find the release's files"))]
    events += (
        ("", lambda terminal, done=done: terminal.progressed("v1.36.4", f"verifying k3s: {done} MB"))
        for done in range(10, 100, 10)
    )
    assert len(log_of(events, monkeypatch)) == 1


@pytest.mark.parametrize("verb", [make_plan, get_status])
async def test_looks_are_told_of_each_host(verb: Callable[..., object], world: World) -> None:
    world.refuse(agent_1=HostUnreachable("no connection", where="agent-1"))
    await verb(world.session)  # type: ignore[misc]
    looks = sorted(begun for begun in world.person.begun if begun[1] == "look")
    assert looks == [("agent-1", "look"), ("agent-2", "look"), ("server-1", "look")]
    assert ("agent-1", True) in world.person.ended
    assert ("agent-2", False) in world.person.ended


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, spec())
    enter(made, monkeypatch)
    return made


class TestTheBoard:
    def test_words_of_what_does_not_run_leave_no_row(self) -> None:
        """Nothing would ever end it, and its time would count on."""
        board = Board()
        assert board.progressed("server-1", "tries a pod") is None
        assert board.is_empty

    def test_who_runs_longest_stands_first(self) -> None:
        clock = Clock()
        board = Board(clock)
        for name in ("b", "a", "c"):
            board.started(name, "agent")
            clock.now += 1
        assert [line[1][0] for line in board.lines(80, 24)[:3]] == ["b ", "a ", "c "]

    def test_two_things_of_one_host_end_each_by_itself(self) -> None:
        board = Board()
        board.started("server-1", "server")
        board.started("server-1", "validate")
        board.finished("server-1", "server", 3.0, failed=False)
        assert "validate" in text(board.lines(80, 24))
        board.finished("server-1", "validate", 3.0, failed=False)
        assert board.is_empty

    def test_what_it_waits_for_has_its_own_time(self) -> None:
        clock = Clock()
        board = Board(clock)
        board.started("agent-1", "agent")
        clock.now += 20
        board.progressed("agent-1", "wait for k3s-agent")
        clock.now += 130
        assert "agent: wait for k3s-agent (130 s)" in text(board.lines(80, 24))
        assert text(board.lines(80, 24)).endswith("150 s")

    def test_what_follows_stands_below_what_runs_until_it_runs_itself(self) -> None:
        board = Board()
        board.expect(Counter(agent=2), "validate")
        board.started("agent-1", "look")
        assert "then" not in text(board.lines(80, 24))
        board.started("agent-1", "agent")
        assert text(board.lines(80, 24)[-1:]) == "    then validate"
        assert "then" not in text(board.lines(80, 4)), "there is room for what runs only"
        board.finished("agent-1", "agent", 3.0, failed=False)
        board.started("server-1", "validate")
        assert "then" not in text(board.lines(80, 24))

    @pytest.mark.parametrize("width", [10, 20, 40, 80])
    @pytest.mark.parametrize("height", [1, 2, 5, 24])
    def test_nothing_is_wider_or_higher_than_the_terminal(self, width: int, height: int) -> None:
        board = Board()
        board.expect(Counter(agent=40), "validate")
        for number in range(40):
            board.started(f"a-host-with-a-long-name-{number}.example", "agent")
            board.progressed(f"a-host-with-a-long-name-{number}.example", "wörter 漢字漢字漢字\n\x1b[2J\tand more " * 9)
        lines = board.lines(width, height, unicode=True)
        assert len(lines) <= height
        assert all(cells(line) <= width for line in lines)
        assert not {"\n", "\x1b", "\t"} & set(text(lines).replace("\n", ""))


def text(lines: list[list[tuple[str, str]]]) -> str:
    return "\n".join("".join(piece for piece, _ in line) for line in lines)


def cells(line: list[tuple[str, str]]) -> int:
    from rich.cells import cell_len

    return sum(cell_len(piece) for piece, _ in line)
