"""Fleet and sessions over SSH: one connection per host, one channel per call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from productive_k3s.contract.events import Result
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.program import Program
from productive_k3s_infra.errors import BadInput, Pk3sError
from productive_k3s_infra.hosts.fleet.session import HostSession, OnEvent
from productive_k3s_infra.hosts.ssh.connection import Connections
from productive_k3s_infra.hosts.ssh.hops import Hop, Ways
from productive_k3s_infra.hosts.ssh.host_keys import HostKeys, Trust
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.hosts.ssh.sudo_passwords import AskSudo, SudoPasswords
from productive_k3s_infra.hosts.wire import bootstrap, refusals
from productive_k3s_infra.hosts.wire.exchange import BEGIN_SECONDS, Exchange, Order
from productive_k3s_infra.inventory.model import Host, Inventory

_LOG = logging.getLogger(__name__)


class SshFleet:
    """Implements Fleet over SSH.

    `known_hosts` is the team's file beside the cluster file (None: there is none, and nothing is remembered). `trust`
    shows a host key that nobody knows yet and says whether it is the host's; `ask_sudo` asks for a sudo password, once
    for all hosts that take it. Both may block: they are called in a thread, one at a time. `openssh` reads
    the person's OpenSSH configuration; by default it is what ssh reads by itself.
    A host is given `connect_seconds` to let us in, then `begin_seconds` to give us a session, and as long again to
    begin our command in it: one that falls silent in any of them is told of by name.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        program: Program,
        known_hosts: Path | None,
        trust: Trust,
        ask_sudo: AskSudo,
        connect_seconds: float = 15.0,
        begin_seconds: float = BEGIN_SECONDS,
        openssh: OpenSsh | None = None,
    ) -> None:
        self._inventory = inventory
        questions = asyncio.Lock()
        self._connections = Connections(HostKeys(known_hosts, trust, questions), connect_seconds, begin_seconds)
        ways = Ways(openssh or OpenSsh())
        passwords = SudoPasswords(ask_sudo, questions)
        self._sessions = {
            host.name: SshSession(host, ways, self._connections, program, passwords, begin_seconds=begin_seconds)
            for host in inventory.hosts
        }

    async def session(self, host: str) -> HostSession:
        """See Fleet. A connection that was lost is made anew."""
        session = self._sessions.get(host)
        if session is None:
            raise BadInput(f"{host} is not a host of {self._inventory.cluster}", remedy="check the names in the file")
        try:
            await session.connect()
        except Pk3sError as error:
            _LOG.debug("%s: no connection", host, exc_info=error)
            raise
        return session

    async def close(self) -> None:
        """Close all connections, those to jump hosts last."""
        await self._connections.close()


class SshSession:
    """Implements HostSession: every call is one run of the program in one channel of the host's connection."""

    def __init__(
        self,
        host: Host,
        ways: Ways,
        connections: Connections,
        program: Program,
        passwords: SudoPasswords,
        *,
        begin_seconds: float,
    ) -> None:
        self._host = host
        self._ways = ways
        self._connections = connections
        self._program = program
        self._passwords = passwords
        self._begin_seconds = begin_seconds

    @property
    def name(self) -> str:
        """See HostSession."""
        return self._host.name

    async def connect(self) -> None:
        """Make the connection unless it is open."""
        await self._connections.get(await self._hop(), self.name)

    async def call(
        self,
        verb: str,
        document: Mapping[str, Any] | None = None,
        *,
        arguments: tuple[str, ...] = (),
        on_event: OnEvent | None = None,
        deadline_seconds: float = 120.0,
        payload: AsyncIterator[bytes] | None = None,
    ) -> Result:
        """See HostSession."""
        run = bootstrap.invocation(verb, document, arguments, deadline_seconds, has_payload=payload is not None)
        began, said = time.monotonic(), " ".join((verb, *arguments))
        _LOG.debug("%s: %s", self.name, said)
        try:
            result = await self._call(run, on_event, payload)
        except Pk3sError as error:
            _LOG.info("%s: %s, %.2f s: %s [%s]", self.name, said, time.monotonic() - began, error.what, error.code)
            raise
        _LOG.info("%s: %s, %.2f s: %s", self.name, said, time.monotonic() - began, result.outcome)
        return result

    async def _call(
        self, run: bootstrap.Invocation, on_event: OnEvent | None, payload: AsyncIterator[bytes] | None
    ) -> Result:
        user = self._host.endpoint.user
        password = self._passwords.of_host(self.name)
        order = Order(self.name, user, self._program, run, password, begin_seconds=self._begin_seconds)
        try:
            return await self._run(order, on_event, payload)
        except Pk3sError as error:
            if error.code == "sudo.wrong-password":
                self._passwords.forget(self.name)
            if error.code != "sudo.password-wanted" or order.password is not None:
                raise
            refusal = refusals.password_wanted(self.name, user, error.evidence)

        async def again(password: Secret) -> Result:
            return await self._run(replace(order, password=password), on_event, payload)

        return await self._passwords.run(self.name, user, again, refusal)

    async def close(self) -> None:
        """See HostSession."""
        hop = self._ways.found(self._host.endpoint)
        if hop is not None:
            await self._connections.drop(hop)

    async def _hop(self) -> Hop:
        return await self._ways.to(self._host.endpoint, self.name)

    async def _run(self, order: Order, on_event: OnEvent | None, payload: AsyncIterator[bytes] | None) -> Result:
        if self._host.endpoint.user == "root":
            command = bootstrap.root_command()
        else:
            command = bootstrap.sudo_command(with_password=order.password is not None)
        channel = await self._connections.channel(await self._hop(), self.name, command)
        return await Exchange(channel, order, on_event, payload).run()
