"""One attempt to get a connection to a host, and what its failure means for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import asyncssh

from productive_k3s_infra.errors import AuthenticationRefused, HostUnreachable, Pk3sError
from productive_k3s_infra.hosts.ssh import errors
from productive_k3s_infra.hosts.ssh.channel import LOST
from productive_k3s_infra.hosts.ssh.hops import Hop
from productive_k3s_infra.hosts.ssh.host_keys import Known
from productive_k3s_infra.hosts.ssh.identities import Identities
from productive_k3s_infra.hosts.ssh.keys import rsa_bits
from productive_k3s_infra.hosts.ssh.options import connect_options
from productive_k3s_infra.hosts.ssh.proxy_command import ProxyCommand
from productive_k3s_infra.hosts.ssh.tokens import UnknownToken

# Three in all: asyncssh forgets what the host offered if the end of the connection stands right behind it.
_GREETINGS = 3


class _Client(asyncssh.SSHClient):
    """Hands out the keys, and sees how far a connection came; trusts no host key by itself."""

    def __init__(self, identities: Identities) -> None:
        self._left = list(identities.pairs)
        self._connection: asyncssh.SSHClientConnection | None = None
        self.shown: asyncssh.SSHKey | None = None
        self.offered: asyncssh.SSHKeyPair | None = None
        self.said: list[str] = []

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """The host accepted the connection."""
        self._connection = conn

    @property
    def is_connected(self) -> bool:
        """Whether the host accepted the connection."""
        return self._connection is not None

    @property
    def heard_greeting_only(self) -> bool:
        """Whether the host said which SSH it speaks, and showed no key yet that we know to be wrong or offered ours."""
        greeted = self._connection is not None and self._connection.get_extra_info("server_version") is not None
        return greeted and self.shown is None and self.offered is None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """It was not among those that are known."""
        del host, addr, port
        self.shown = key
        return False

    def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        """Offer the next key."""
        self.offered = self._left.pop(0) if self._left else None
        return self.offered

    def auth_banner_received(self, msg: str, lang: str) -> None:
        """The host says something before it lets anybody in: sometimes why it will not."""
        del lang
        self.said.extend(line.strip() for line in msg.splitlines() if line.strip())


@dataclass
class Attempt:
    """One attempt to get a connection."""

    hop: Hop
    where: str
    known: Known
    identities: Identities
    seconds: float
    proxy: ProxyCommand | None = None

    def __post_init__(self) -> None:
        self.client = _Client(self.identities)

    async def run(
        self, tunnel: asyncssh.SSHClientConnection | None
    ) -> tuple[asyncssh.SSHClientConnection, ProxyCommand | None]:
        """Return the connection, and the command that it goes through; raises what a person reads."""
        options = connect_options(self.hop, self.known, self.where)
        try:
            async with asyncio.timeout(self.seconds):
                if tunnel is not None:
                    options = {**options, "tunnel": tunnel}
                elif self.hop.proxy_command is not None:
                    self.proxy = await self._start_proxy(self.hop.proxy_command)
                    options = {**options, "sock": self.proxy.socket}
                connection = await self._greet(options)
            self._require_long_key(connection)
        except Pk3sError:
            raise
        except Exception as error:  # noqa: BLE001 - what nobody expects is raised as it is
            await self._fail(error, tunnel)
        else:
            proxy, self.proxy = self.proxy, None  # it is the caller's now
            return connection, proxy
        finally:
            if self.proxy is not None:
                await self.proxy.end()

    async def _greet(self, options: Mapping[str, Any]) -> asyncssh.SSHClientConnection:
        """Connect, and again if all that was heard is a greeting: what the host then offers says why it closed."""
        again = 0 if "sock" in options else _GREETINGS - 1  # a ProxyCommand gives one connection
        while True:
            try:
                return await asyncssh.connect(
                    self.hop.config.hostname, self.hop.port, client_factory=lambda: self.client, **options
                )
            except (asyncssh.ConnectionLost, ConnectionError):
                if not again or not self.client.heard_greeting_only:
                    raise
                again -= 1
                self.client = _Client(self.identities)

    async def _start_proxy(self, command: str) -> ProxyCommand:
        try:
            return await ProxyCommand.start(self.hop.tokens.command(command))
        except (OSError, UnknownToken) as error:
            raise self._proxy_failed(str(error)) from error

    def _require_long_key(self, connection: asyncssh.SSHClientConnection) -> None:
        key = connection.get_server_host_key()
        least = self.hop.config.required_rsa_bits
        if key is not None and 0 < rsa_bits(key.public_data) < least:
            connection.abort()
            raise HostUnreachable(
                "the host's key is shorter than the OpenSSH configuration requires",
                where=self.where,
                evidence=f"{rsa_bits(key.public_data)} bits; RequiredRSASize is {least}",
                remedy="give the host a new key: move the old one away, then run ssh-keygen -A there",
                code="ssh.no-common-algorithm",
            )

    async def _fail(self, error: Exception, tunnel: asyncssh.SSHClientConnection | None) -> NoReturn:
        hop, where = self.hop, self.where
        if tunnel is not None and hop.via is not None and isinstance(error, asyncssh.ChannelOpenError):
            raise errors.jump_refused(error, hop, where) from error
        if tunnel is not None and hop.via is not None and isinstance(error, LOST) and tunnel.is_closed():
            raise errors.explained(error, hop.via, hop.behind(where)) from error
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            raise self.known.mismatch(error, hop, where, self.client.shown) from error
        if isinstance(error, asyncssh.PermissionDenied):
            raise errors.explained(error, hop, where, self._refused()) from error
        if errors.is_too_many_keys(error):
            raise errors.too_many_keys(error, hop, where, self._refused()) from error
        if self.proxy is not None and isinstance(error, LOST) and self.client.shown is None:
            words = await self.proxy.last_words()
            if words:
                raise self._proxy_failed(words) from error
        if isinstance(error, TimeoutError):
            raise self._too_slow() from error
        if self.client.offered is not None and isinstance(error, (asyncssh.ConnectionLost, ConnectionError)):
            raise errors.login_cut_off(error, hop, where, self._refused()) from error
        if isinstance(error, (ValueError, RecursionError)) and not isinstance(error, LOST):
            # asyncssh and the system's resolver say so of names, keys and options that they cannot use.
            raise errors.not_usable(error, hop, where) from error
        if isinstance(error, LOST):
            raise errors.explained(error, hop, where) from error
        raise error

    def _refused(self) -> str:
        said = f"the host said: {' | '.join(self.client.said[-2:])}" if self.client.said else ""
        passed_over = f"not used: {'; '.join(self.identities.passed_over)}" if self.identities.passed_over else ""
        return ", ".join(filter(None, (str(self.hop), self.identities.offered, said, passed_over)))

    def _too_slow(self) -> HostUnreachable | AuthenticationRefused:
        offered = self.client.offered
        if offered is not None and isinstance(offered, asyncssh.SSHAgentKeyPair):
            return AuthenticationRefused(
                "the host is waiting for a signature from the SSH agent",
                where=self.where,
                evidence=f"{self.hop}: none arrived within {self.seconds:g} s for {offered.get_comment()}",
                remedy="touch the key or answer the agent's question in time, or set ConnectTimeout in ~/.ssh/config",
                code="ssh.no-signature",
            )
        if self.proxy is not None:
            seen = f"{self.hop} did not complete the login through its ProxyCommand within {self.seconds:g} s"
        elif self.client.is_connected:
            seen = f"{self.hop} accepted the connection, but did not complete the login within {self.seconds:g} s"
        elif self.hop.via is not None:
            seen = f"{self.hop.via} opened no connection to {self.hop} within {self.seconds:g} s"
        else:
            seen = f"{self.hop} did not answer within {self.seconds:g} s"
        return HostUnreachable(
            "the host does not answer",
            where=self.where,
            evidence=seen,
            remedy="check the address, the port, firewalls in between, and the load of the host",
            code="ssh.timeout",
        )

    def _proxy_failed(self, words: str) -> HostUnreachable:
        return HostUnreachable(
            "the ProxyCommand of the OpenSSH configuration opens no connection",
            where=self.where,
            evidence=f"{self.hop.proxy_command}: {words}",
            remedy=f"try: {self.hop.ssh_command}; then correct ProxyCommand in ~/.ssh/config",
            code="ssh.proxy-command",
        )
