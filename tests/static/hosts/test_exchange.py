"""What is sent to a host and when: nothing secret before it is known who reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from productive_k3s.contract.events import Result
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.program import Program
from productive_k3s_infra.errors import HostProgramFailed, Pk3sError
from productive_k3s_infra.hosts.wire import bootstrap
from productive_k3s_infra.hosts.wire.exchange import ChannelLost, Exchange, Order

PROGRAM = Program(b"the program", "0" * 64)
DOCUMENT = "the-tokens-are-here"
PASSWORD = "open sesame"
HELLO = '{"type":"hello","program":"0.1.0","python":"3.9.2","schema":1}'
DONE = '{"type":"result","outcome":"done"}'


class ScriptedChannel:
    """Implements Channel: `react` is called with each thing that was written, and says what the host does then."""

    def __init__(self, react: Callable[[ScriptedChannel, bytes], None], *, refuses_input: bool = False) -> None:
        self._react = react
        self._refuses_input = refuses_input
        self.output: asyncio.Queue[bytes] = asyncio.Queue()
        self.errors: asyncio.Queue[bytes] = asyncio.Queue()
        self.written: list[bytes] = []
        self.status: int | None = 1
        self.has_ended = asyncio.Event()

    def say(self, *lines: str) -> None:
        for line in lines:
            self.output.put_nowait(f"{line}\n".encode())

    def complain(self, text: str) -> None:
        self.errors.put_nowait(text.encode())

    def end(self, status: int | None = 0) -> None:
        self.status = status
        self.has_ended.set()
        self.output.put_nowait(b"")
        self.errors.put_nowait(b"")

    def write(self, data: bytes) -> None:
        if self._refuses_input or self.has_ended.is_set():
            raise ChannelLost("Channel not open for sending")
        self.written.append(data)
        self._react(self, data)

    async def drain(self) -> None: ...

    def write_eof(self) -> None:
        self.written.append(b"EOF")

    async def read_output(self, most: int) -> bytes:
        return await self.output.get()

    async def read_errors(self, most: int) -> bytes:
        return await self.errors.get()

    async def exit_status(self) -> int | None:
        await self.has_ended.wait()
        return self.status

    def close(self) -> None:
        if not self.has_ended.is_set():
            self.end(None)


def is_loader(data: bytes) -> bool:
    return data == bootstrap.loader_line()


def is_order(data: bytes) -> bool:
    return DOCUMENT.encode() in data


async def run(
    channel: ScriptedChannel, verb: str = "validate", password: str | None = None, begin: float = 4.0
) -> Result:
    invocation = bootstrap.invocation(verb, {"token": DOCUMENT}, (), 5.0, has_payload=False)
    secret = Secret(password) if password is not None else None
    order = Order("node-1", "ops", PROGRAM, invocation, secret, prompt_seconds=0.2, begin_seconds=begin)
    return await Exchange(channel, order, None, None).run()


async def refusal(channel: ScriptedChannel, **options: str) -> Pk3sError:
    with pytest.raises(Pk3sError) as caught:
        await run(channel, **options)
    assert PASSWORD not in f"{caught.value} {caught.value.evidence} {caught.value.remedy}"
    return caught.value


def sudo_that_asks(*, right: bool) -> Callable[[ScriptedChannel, bytes], None]:
    def react(channel: ScriptedChannel, data: bytes) -> None:
        if data == f"{PASSWORD}\n".encode():
            return
        if is_loader(data) and not right:
            channel.complain(f"Sorry, try again.\n{bootstrap.SUDO_PROMPT}")
        elif is_loader(data):
            channel.say('{"type":"ready"}')
        elif is_order(data):
            channel.say(HELLO, DONE)
            channel.end()

    return react


async def test_a_password_is_sent_when_asked_and_the_order_when_the_loader_runs() -> None:
    channel = ScriptedChannel(sudo_that_asks(right=True))
    waiting = asyncio.ensure_future(run(channel, password=PASSWORD))
    await asyncio.sleep(0)
    assert channel.written == []
    for half in (bootstrap.SUDO_PROMPT[:5], bootstrap.SUDO_PROMPT[5:]):
        channel.complain(half)
    assert (await waiting).outcome == "done"
    kinds = [data == f"{PASSWORD}\n".encode() or is_loader(data) or is_order(data) for data in channel.written]
    assert kinds[:3] == [True, True, True]
    order = json.loads(next(data for data in channel.written if is_order(data)))
    assert order["keep"] is False


async def test_a_wrong_password_ends_it_before_the_order_is_sent() -> None:
    channel = ScriptedChannel(sudo_that_asks(right=False))
    channel.complain(bootstrap.SUDO_PROMPT)
    assert (await refusal(channel, password=PASSWORD)).code == "sudo.wrong-password"
    assert channel.written.count(f"{PASSWORD}\n".encode()) == 1, "three wrong ones may lock an account"
    assert not any(is_order(data) for data in channel.written)


async def test_a_sudo_that_does_not_ask_is_never_given_the_password() -> None:
    """Python would read it as a program."""
    channel = ScriptedChannel(lambda _channel, _data: None)
    assert (await refusal(channel, password=PASSWORD)).code == "sudo.refused"
    assert channel.written in ([], [b"EOF"])


async def test_a_prompt_that_nobody_expects_is_not_answered() -> None:
    channel = ScriptedChannel(lambda _channel, _data: None)
    channel.complain(bootstrap.SUDO_PROMPT)
    channel.end()
    assert isinstance(await refusal(channel), Pk3sError)


async def test_a_command_that_ended_before_it_read_anything_says_why() -> None:
    channel = ScriptedChannel(lambda _channel, _data: None, refuses_input=True)
    channel.complain("sudo: a password is required\n")
    channel.end(1)
    assert (await refusal(channel)).code == "sudo.password-wanted"


@pytest.mark.parametrize("verb", ["server", "facts"])
async def test_the_program_is_sent_to_hosts_that_want_it(verb: str) -> None:
    def react(channel: ScriptedChannel, data: bytes) -> None:
        if is_order(data):
            channel.say('{"type":"ready"}', *wishes)
        if data == bootstrap.program_line(PROGRAM) or (is_order(data) and not wishes):
            channel.say(HELLO, DONE)
            channel.end()

    for wishes in ([], ['{"type":"want"}']):
        channel = ScriptedChannel(react)
        await run(channel, verb)
        assert (bootstrap.program_line(PROGRAM) in channel.written) is bool(wishes)


async def test_a_crash_of_the_program_is_told_by_its_last_line() -> None:
    def react(channel: ScriptedChannel, data: bytes) -> None:
        if is_order(data):
            channel.say(HELLO)
            channel.complain("Traceback (most recent call last):\n  File \"x\"\nKeyError: 'role'\n")
            channel.end(1)

    error = await refusal(ScriptedChannel(react))
    assert isinstance(error, HostProgramFailed)
    assert error.evidence == "KeyError: 'role'"


async def test_a_host_that_falls_silent_is_given_up_after_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    def react(channel: ScriptedChannel, data: bytes) -> None:
        if is_order(data):
            channel.say(HELLO, '{"type":"event","kind":"waiting","message":"for the API","seconds":1.0}')

    for name in ("GRACE_SECONDS", "_TRAVEL_SECONDS", "_STOP_SECONDS"):
        monkeypatch.setattr(f"productive_k3s_infra.hosts.wire.exchange.{name}", 0.01)
    invocation = bootstrap.invocation("validate", {"token": DOCUMENT}, (), 0.05, has_payload=False)
    channel = ScriptedChannel(react)
    with pytest.raises(HostProgramFailed) as caught:
        await Exchange(channel, Order("node-1", "ops", PROGRAM, invocation), None, None).run()
    assert (caught.value.code, caught.value.evidence) == ("host.no-result", "for the API")
    assert channel.written[-1] == b"EOF", "the program is told to stop"


@pytest.mark.parametrize(
    ("said", "phase"),
    [((), "the host program was not"), ((HELLO,), "the program started, and reported nothing after that")],
)
async def test_a_run_that_falls_silent_says_in_which_phase(
    said: tuple[str, ...], phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("productive_k3s_infra.hosts.wire.exchange.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("productive_k3s_infra.hosts.wire.exchange._TRAVEL_SECONDS", -4.5)
    monkeypatch.setattr("productive_k3s_infra.hosts.wire.exchange._STOP_SECONDS", 0.1)

    def react(channel: ScriptedChannel, data: bytes) -> None:
        if is_order(data):
            channel.say('{"type":"ready"}', *said)

    error = await refusal(ScriptedChannel(react))
    assert (error.code, error.where) == ("host.no-result", "node-1")
    assert phase in error.evidence


async def test_only_the_beginning_of_a_run_is_hurried() -> None:
    """It takes longer than it may take to begin."""

    def react(channel: ScriptedChannel, data: bytes) -> None:
        if is_order(data):
            channel.say('{"type":"ready"}')
            asyncio.get_running_loop().call_later(0.6, channel.say, HELLO, DONE)
            asyncio.get_running_loop().call_later(0.7, channel.end)

    assert (await run(ScriptedChannel(react), begin=0.3)).outcome == "done"


async def test_a_sudo_that_hangs_is_among_what_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service that does not answer holds it up, before it asks for anything."""
    monkeypatch.setattr("productive_k3s_infra.hosts.wire.exchange._STOP_SECONDS", 0.1)
    with pytest.raises(HostProgramFailed) as caught:
        await run(ScriptedChannel(lambda _channel, _data: None), begin=0.2)
    assert caught.value.code == "host.not-run"
    assert "sudo -n true" in caught.value.remedy
