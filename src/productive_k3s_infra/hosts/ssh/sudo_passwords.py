"""The sudo passwords that a person gave: asked once, and used for every host that has the same user and takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.errors import Pk3sError

AskSudo = Callable[[str], Secret | None]
T = TypeVar("T")


class SudoPasswords:
    """What is known of passwords, for one fleet. They stay in memory.

    The first host that wants one has it asked for and tried there, while the others wait: a mistyped one is not sent to
    all of them. Then it is tried on them, and only a host that does not take it is asked for by itself.
    """

    def __init__(self, ask: AskSudo, questions: asyncio.Lock) -> None:
        self._ask = ask
        self._questions = questions
        self._turn = asyncio.Lock()
        self._of_users: dict[str, Secret] = {}
        self._of_hosts: dict[str, Secret] = {}

    def of_host(self, host: str) -> Secret | None:
        """Return the password that this host has taken, None before."""
        return self._of_hosts.get(host)

    def forget(self, host: str) -> None:
        """Ask anew for this host: it does not take the password any more."""
        self._of_hosts.pop(host, None)

    async def run(self, host: str, user: str, run: Callable[[Secret], Awaitable[T]], refusal: Pk3sError) -> T:
        """Run with a password that the host takes; `refusal` is raised where nobody can be asked.

        A password that was asked for this host and is wrong is an error: the person is told, and not asked again.
        """
        tried: Secret | None = None
        while True:
            known = self._known(host, user)
            if known not in {None, tried} and known is not None:
                try:
                    return await self._accepted(host, user, known, run)
                except Pk3sError as error:
                    if error.code != "sudo.wrong-password":
                        raise
                self.forget(host)
                tried = known
            async with self._turn:
                if self._known(host, user) not in {None, tried}:
                    continue  # while this one waited for its turn, another host has taken one
                async with self._questions:
                    given = await asyncio.to_thread(self._ask, host)
                if given is None:
                    raise refusal
                return await self._accepted(host, user, given, run)

    def _known(self, host: str, user: str) -> Secret | None:
        return self._of_hosts.get(host) or self._of_users.get(user)

    async def _accepted(self, host: str, user: str, password: Secret, run: Callable[[Secret], Awaitable[T]]) -> T:
        """Run, and remember the password unless sudo did not take it."""
        try:
            done = await run(password)
        except Pk3sError as error:
            if not error.code.startswith("sudo."):
                self._remember(host, user, password)
            raise
        self._remember(host, user, password)
        return done

    def _remember(self, host: str, user: str, password: Secret) -> None:
        self._of_hosts[host] = password
        self._of_users.setdefault(user, password)
