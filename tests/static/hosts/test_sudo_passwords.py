"""One password for all hosts that take it; a mistyped one goes to one host only."""

from __future__ import annotations

import asyncio

import pytest

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.errors import HostUnreachable, Pk3sError, SudoRefused
from productive_k3s_infra.hosts.ssh.sudo_passwords import SudoPasswords

REFUSAL = SudoRefused("sudo wants a password", where="server-1", code="sudo.password-wanted")


class Hosts:
    """Hosts with a password each, and a person who answers with what is next in line."""

    def __init__(self, passwords: dict[str, str], *answers: str | None) -> None:
        self.right = passwords
        self.answers = list(answers)
        self.asked: list[str] = []
        self.tried: list[tuple[str, str]] = []
        self.known = SudoPasswords(self.ask, asyncio.Lock())

    def ask(self, host: str) -> Secret | None:
        self.asked.append(host)
        answer = self.answers.pop(0)
        return None if answer is None else Secret(answer)

    async def call(self, host: str, user: str = "ops") -> str:
        async def run(password: Secret) -> str:
            self.tried.append((host, password.unmask()))
            await asyncio.sleep(0)
            if password.unmask() != self.right[host]:
                raise SudoRefused("sudo did not take it", where=host, code="sudo.wrong-password")
            return host

        return await self.known.run(host, user, run, REFUSAL)


async def test_it_is_asked_once_for_several_hosts_at_once() -> None:
    hosts = Hosts(dict.fromkeys(("a", "b", "c"), "right"), "right")
    assert await asyncio.gather(*map(hosts.call, hosts.right)) == ["a", "b", "c"]
    assert hosts.asked == ["a"]
    assert hosts.known.of_host("c") == Secret("right")


async def test_a_host_with_another_one_is_asked_for_by_itself_and_disturbs_nobody() -> None:
    hosts = Hosts({"a": "right", "b": "other", "c": "right"}, "right", "other")
    assert await asyncio.gather(*map(hosts.call, hosts.right)) == ["a", "b", "c"]
    assert hosts.asked == ["a", "b"]
    assert [await hosts.call(name) for name in "cba"] == ["c", "b", "a"]
    assert hosts.asked == ["a", "b"]


async def test_a_mistyped_one_goes_to_one_host_only() -> None:
    hosts = Hosts(dict.fromkeys(("a", "b", "c"), "right"), "wrnog", "right")
    found = await asyncio.gather(*map(hosts.call, hosts.right), return_exceptions=True)
    assert [getattr(item, "code", item) for item in found] == ["sudo.wrong-password", "b", "c"]
    assert [password for _, password in hosts.tried].count("wrnog") == 1
    assert hosts.known.of_host("a") is None


async def test_another_user_s_is_another_one() -> None:
    hosts = Hosts({"a": "right", "b": "right"}, "right", "right")
    await hosts.call("a", "ops")
    await hosts.call("b", "admin")
    assert hosts.asked == ["a", "b"]


async def test_where_nobody_can_be_asked_every_host_says_so() -> None:
    hosts = Hosts({"a": "x", "b": "x"}, None, None)
    found = await asyncio.gather(*map(hosts.call, hosts.right), return_exceptions=True)
    assert [getattr(item, "code", item) for item in found] == ["sudo.password-wanted"] * 2
    assert hosts.tried == []


async def test_one_that_a_host_takes_no_longer_is_asked_anew() -> None:
    hosts = Hosts({"a": "right"}, "right", "new")
    await hosts.call("a")
    hosts.right["a"] = "new"
    assert await hosts.call("a") == "a"
    assert hosts.asked == ["a", "a"]


async def test_what_fails_behind_sudo_does_not_speak_against_the_password() -> None:
    hosts = Hosts({"a": "right", "b": "right"}, "right")

    async def lost(_: Secret) -> str:
        raise HostUnreachable("the connection was lost", where="a")

    with pytest.raises(Pk3sError, match="lost"):
        await hosts.known.run("a", "ops", lost, REFUSAL)
    assert await hosts.call("b") == "b"
    assert hosts.asked == ["a"]
