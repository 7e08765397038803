"""SSH connections: the only module that speaks asyncssh. Host keys are always verified, errors are ours.

Hosts behind one jump host share the connection to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from asyncssh.public_key import get_default_public_key_algs

from productive_k3s_infra.errors import BadInput, HostKeyMismatch, HostUnreachable, Pk3sError
from productive_k3s_infra.hosts.ssh import errors, known_hosts
from productive_k3s_infra.hosts.ssh.options import Login, login_options
from productive_k3s_infra.hosts.wire.exchange import ChannelLost
from productive_k3s_infra.inventory.model import Endpoint

# A dead way is noticed after a minute, and firewalls that forget silent connections are kept awake.
_KEEPALIVE_SECONDS = 15
_KEEPALIVES_MISSED = 4
_WINDOW_BYTES = 4 << 20
_CLOSE_SECONDS = 5.0
_LOST = (asyncssh.Error, OSError)

Trust = Callable[[str, tuple[str, ...]], bool]


@dataclass
class Connections:
    """The open connections by endpoint."""

    known_hosts: Path | None
    trust: Trust
    questions: asyncio.Lock
    connect_seconds: float
    ssh_config: tuple[Path, ...] | None
    open: dict[Endpoint, asyncssh.SSHClientConnection] = field(default_factory=dict)
    locks: dict[Endpoint, asyncio.Lock] = field(default_factory=dict)
    trusted: dict[Endpoint, str] = field(default_factory=dict)

    async def get(self, endpoint: Endpoint, where: str) -> asyncssh.SSHClientConnection:
        async with self.locks.setdefault(endpoint, asyncio.Lock()):
            connection = self.open.get(endpoint)
            if connection is None or connection.is_closed():
                connection = await self._connect(endpoint, where)
                self.open[endpoint] = connection
            return connection

    async def channel(self, endpoint: Endpoint, where: str, command: str) -> Channel:
        """Start a command in a channel of its own, without a terminal."""
        connection = await self.get(endpoint, where)
        try:
            return await _start(connection, command)
        except _LOST as error:
            if not connection.is_closed():
                raise _explained(error, endpoint, where) from error
        # It was lost while nobody looked, for example by a restart of the host; nothing was started.
        connection = await self.get(endpoint, where)
        try:
            return await _start(connection, command)
        except _LOST as error:
            raise _explained(error, endpoint, where) from error

    async def drop(self, endpoint: Endpoint) -> None:
        connection = self.open.pop(endpoint, None)
        if connection is None:
            return
        connection.close()
        with suppress(*_LOST, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await connection.wait_closed()

    async def close(self) -> None:
        # Opened last, closed first: whoever goes through another connection was opened after it.
        for endpoint in reversed(list(self.open)):
            await self.drop(endpoint)

    async def _connect(self, endpoint: Endpoint, where: str) -> asyncssh.SSHClientConnection:
        tunnel = None
        if endpoint.jump is not None:
            tunnel = await self.get(endpoint.jump, f"jump host {endpoint.jump} of {where}")
        known = self._known(endpoint)
        async with login_options(endpoint, where, self.ssh_config) as login:
            client = _Client()
            try:
                return await self._try(endpoint, where, tunnel=tunnel, login=login, known=known, client=client)
            except HostKeyMismatch:
                if client.shown is None or not known.is_empty:
                    raise
        await self._learn(endpoint, where, client.shown)
        return await self._connect(endpoint, where)

    async def _try(
        self,
        endpoint: Endpoint,
        where: str,
        *,
        tunnel: asyncssh.SSHClientConnection | None,
        login: Login,
        known: _Known,
        client: _Client,
    ) -> asyncssh.SSHClientConnection:
        try:
            async with asyncio.timeout(self.connect_seconds):
                return await asyncssh.connect(
                    endpoint.address,
                    endpoint.port,
                    tunnel=tunnel or (),
                    client_factory=lambda: client,
                    known_hosts=lambda *_: known.lists,
                    server_host_key_algs=known.algorithms,
                    keepalive_interval=_KEEPALIVE_SECONDS,
                    keepalive_count_max=_KEEPALIVES_MISSED,
                    **login.options,
                )
        except TimeoutError as error:
            raise self._too_slow(endpoint, where, client) from error
        except asyncssh.ChannelOpenError as error:
            raise _jump_refused(error, endpoint) from error
        except asyncssh.HostKeyNotVerifiable as error:
            raise known.mismatch(error, endpoint, where, client.shown) from error
        except asyncssh.PermissionDenied as error:
            raise _explained(error, endpoint, where, f"{endpoint}, with {login.keys}") from error
        except (*_LOST, ValueError) as error:
            raise _explained(error, endpoint, where) from error

    def _too_slow(self, endpoint: Endpoint, where: str, client: _Client) -> HostUnreachable:
        seen = "accepted the connection, but did not let us in" if client.connected else "did not answer"
        return HostUnreachable(
            "the host does not answer",
            where=where,
            evidence=f"{endpoint} {seen} within {self.connect_seconds:g} s",
            remedy="see the address, the port, firewalls between, and the load of the host",
            code="ssh.timeout",
        )

    def _known(self, endpoint: Endpoint) -> _Known:
        """Return what is known of an endpoint: the cluster file's keys before the team's known_hosts."""
        if endpoint.host_keys:
            return _Known(tuple(_import_key(text) for text in endpoint.host_keys), (), (), "the cluster file")
        if endpoint in self.trusted:
            return _Known((_import_key(self.trusted[endpoint]),), (), (), "what was trusted in this run")
        try:
            entries = asyncssh.import_known_hosts(known_hosts.read(self.known_hosts))
        except ValueError as error:
            raise BadInput(
                "known_hosts cannot be read",
                where=str(self.known_hosts),
                evidence=str(error),
                code="known-hosts.invalid",
            ) from error
        port = None if endpoint.port == asyncssh.DEFAULT_PORT else endpoint.port
        keys, authorities, revoked, *_ = entries.match(endpoint.address, endpoint.address, port)
        return _Known(tuple(keys), tuple(authorities), tuple(revoked), str(self.known_hosts))

    async def _learn(self, endpoint: Endpoint, where: str, shown: asyncssh.SSHKey) -> None:
        """Ask once whether a key is the host's, and remember it; raises HostKeyMismatch if nobody says so."""
        text = _text(shown)
        line = known_hosts.entry(endpoint.address, endpoint.port, text)
        kind, fingerprint = text.split()[0], known_hosts.fingerprint(text)
        async with self.questions:
            is_trusted = await asyncio.to_thread(self.trust, where, (f"{kind} {fingerprint}",))
        if not is_trusted:
            place = self.known_hosts or "known_hosts beside the cluster file"
            raise HostKeyMismatch(
                "the host's key is not known, and nobody says that it is the right one",
                where=where,
                evidence=f"{endpoint} shows {kind} {fingerprint}",
                remedy=f"compare it on the host's console (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub); "
                f"then add to {place}: {line}",
                code="ssh.host-key-unknown",
            )
        if self.known_hosts is not None:
            known_hosts.append(self.known_hosts, line)
        self.trusted[endpoint] = text


class _Client(asyncssh.SSHClient):
    """Sees how far a connection came, and the key that the host showed; trusts none by itself."""

    def __init__(self) -> None:
        self.connected = False
        self.shown: asyncssh.SSHKey | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """The host accepted the connection."""
        del conn
        self.connected = True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """It was not among those that are known."""
        del host, addr, port
        self.shown = key
        return False


@dataclass(frozen=True)
class _Known:
    """The keys that are known for one endpoint, and where from."""

    keys: tuple[asyncssh.SSHKey, ...]
    authorities: tuple[asyncssh.SSHKey, ...]
    revoked: tuple[asyncssh.SSHKey, ...]
    source: str

    @property
    def is_empty(self) -> bool:
        return not self.keys and not self.authorities

    @property
    def lists(self) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
        return list(self.keys), list(self.authorities), list(self.revoked)

    @property
    def algorithms(self) -> list[str] | tuple[()]:
        """The kinds of the known keys first, then all others: a host without such a key shows the one it has."""
        if not self.keys or self.authorities:
            return ()
        kinds = [kind for key in self.keys for kind in key.sig_algorithms]
        return [kind.decode() for kind in dict.fromkeys((*kinds, *get_default_public_key_algs()))]

    def mismatch(
        self, error: Exception, endpoint: Endpoint, where: str, shown: asyncssh.SSHKey | None
    ) -> HostKeyMismatch:
        """Return the error for a key that is not the known one."""
        known = ", ".join(known_hosts.fingerprint(_text(key)) for key in (*self.keys, *self.authorities)) or "none"
        seen = f"{_text(shown).split()[0]} {known_hosts.fingerprint(_text(shown))}" if shown is not None else str(error)
        return HostKeyMismatch(
            "the host shows another key than the one known for it: it may not be that host",
            where=where,
            evidence=f"{endpoint} shows {seen}; known is {known} ({self.source})",
            remedy=f"find out why; if the host was made anew, put its new key into {self.source}",
        )


class Channel:
    """A remote command as the exchange wants it."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process

    def write(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
        except _LOST as error:
            raise ChannelLost(str(error)) from error

    async def drain(self) -> None:
        try:
            await self._process.stdin.drain()
        except _LOST as error:
            raise ChannelLost(str(error)) from error

    def write_eof(self) -> None:
        with suppress(*_LOST):
            self._process.stdin.write_eof()

    async def read_output(self, most: int) -> bytes:
        return await _read(self._process.stdout, most)

    async def read_errors(self, most: int) -> bytes:
        return await _read(self._process.stderr, most)

    async def exit_status(self) -> int | None:
        try:
            await self._process.wait_closed()
        except _LOST as error:
            raise ChannelLost(str(error)) from error
        return self._process.exit_status

    def close(self) -> None:
        self._process.close()


async def _start(connection: asyncssh.SSHClientConnection, command: str) -> Channel:
    process: asyncssh.SSHClientProcess[bytes] = await connection.create_process(
        command, encoding=None, request_pty=False, window=_WINDOW_BYTES
    )
    return Channel(process)


async def _read(stream: asyncssh.SSHReader[bytes], most: int) -> bytes:
    try:
        return await stream.read(most)
    except _LOST as error:
        raise ChannelLost(str(error) or type(error).__name__) from error


def _text(key: asyncssh.SSHKey) -> str:
    return key.export_public_key("openssh").decode().strip()


def _import_key(text: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(text)
    except asyncssh.KeyImportError as error:
        raise BadInput("a host key is no public key", evidence=f"{text[:60]}: {error}", code="ssh.host-key") from error


def _jump_refused(error: asyncssh.ChannelOpenError, endpoint: Endpoint) -> HostUnreachable:
    return HostUnreachable(
        f"the jump host does not connect us to {endpoint.address}:{endpoint.port}",
        where=f"jump host {endpoint.jump}",
        evidence=error.reason,
        remedy=f"see that it reaches the host (there: nc -vz {endpoint.address} {endpoint.port}), "
        "and that its sshd has AllowTcpForwarding yes",
        code="ssh.jump-refused",
    )


def _explained(error: Exception, endpoint: Endpoint, where: str, evidence: str = "") -> Pk3sError:
    """Return ours for one of asyncssh's or the system's; what nobody expects is raised as it is."""
    found = errors.explain(error, where, endpoint.user, endpoint.address, endpoint.port)
    if found is None:
        raise error
    found.evidence = evidence or found.evidence
    return found
