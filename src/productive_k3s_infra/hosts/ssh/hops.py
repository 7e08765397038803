"""The way to a host: which jump hosts, where each is, and who logs in, once ssh has said what its configuration means.

What the cluster file says of a host comes first, as what is said on ssh's command line does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.hosts.ssh.client_config import ClientConfig, Jump
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh, this_person
from productive_k3s_infra.hosts.ssh.tokens import Tokens, tokens_of
from productive_k3s_infra.inventory.model import Endpoint

# How the place of a failure begins that is a jump host's, and not that of the host behind it.
JUMP_HOST = "jump host "


@dataclass(frozen=True)
class Hop:
    """One host on the way, the last one of which is the host itself. `address` is the name as it was written."""

    address: str
    user: str
    port: int
    config: ClientConfig
    key: str | None = None
    host_keys: tuple[str, ...] = ()
    via: Hop | None = None

    def __str__(self) -> str:
        place = f"{self.user}@{self.address}:{self.port}"
        return place if self.config.hostname == self.address else f"{place} ({self.config.hostname})"

    @property
    def names(self) -> tuple[str, ...]:
        """As what it may be known: the alias alone if there is one, the real name, the name as it was written."""
        alias = self.config.host_key_alias
        return tuple(dict.fromkeys((alias or self.config.hostname, self.address)))

    @property
    def proxy_command(self) -> str | None:
        """The command that stands for a connection, unless a jump host does."""
        return self.config.proxy_command if self.via is None else None

    @property
    def tokens(self) -> Tokens:
        """What tokens in its configuration stand for."""
        return tokens_of(
            this_person(),
            os.environ,
            original=self.address,
            hostname=self.config.hostname,
            port=self.port,
            user=self.user,
            alias=self.config.host_key_alias,
            jumps=",".join(jump.host for jump in self.config.jumps),
        )

    @property
    def ssh_command(self) -> str:
        """The command with which a person tries the same."""
        jumps = [f"{one.user}@{one.address}:{one.port}" for one in way(self) if one is not self]
        through = f"-J {','.join(reversed(jumps))} " if jumps else ""
        return f"ssh {through}-p {self.port} {self.user}@{self.address}"

    def behind(self, where: str) -> str:
        """Return how the jump host before this one is called in a message about `where`."""
        return f"{JUMP_HOST}{self.via} of {where}"


@dataclass
class Ways:
    """The ways that were asked for, each resolved once."""

    openssh: OpenSsh
    _known: dict[Endpoint, Hop] = field(default_factory=dict)
    _locks: dict[Endpoint, asyncio.Lock] = field(default_factory=dict)

    async def to(self, endpoint: Endpoint, where: str) -> Hop:
        """Return the way to an endpoint; raises BadInput for a configuration that leads nowhere."""
        async with self._locks.setdefault(endpoint, asyncio.Lock()):
            if endpoint not in self._known:
                self._known[endpoint] = await self._resolve(endpoint, where)
            return self._known[endpoint]

    def found(self, endpoint: Endpoint) -> Hop | None:
        """Return the way to an endpoint if it was asked for before."""
        return self._known.get(endpoint)

    async def _resolve(self, endpoint: Endpoint, where: str) -> Hop:
        config = await self.openssh.config(endpoint.address, endpoint.user, endpoint.port, where)
        if endpoint.jump is not None:
            via: Hop | None = await self.to(endpoint.jump, f"{JUMP_HOST}{endpoint.jump} of {where}")
        else:
            via = await self._through(config.jumps, where, (_place(config),))
        return Hop(
            endpoint.address, config.user, config.port, config, key=endpoint.key, host_keys=endpoint.host_keys, via=via
        )

    async def _through(self, jumps: tuple[Jump, ...], where: str, trail: tuple[str, ...]) -> Hop | None:
        """Return the last of the jump hosts. As with ssh, what lies before the first is its own configuration's."""
        if not jumps:
            return None
        *before, last = jumps
        name = f"{JUMP_HOST}{last.host} of {where}"
        config = await self.openssh.config(last.host, last.user, last.port, name)
        if _place(config) in trail:
            raise BadInput(
                "the jump hosts of the OpenSSH configuration form a loop",
                where=where,
                evidence=" -> ".join((*reversed(trail), _place(config))),
                remedy="correct ProxyJump, or set `ProxyJump none` for the one that is reached directly",
                code="ssh.config",
            )
        via = await self._through(tuple(before) or config.jumps, where, (_place(config), *trail))
        return Hop(last.host, config.user, config.port, config, via=via)


def way(hop: Hop) -> Iterator[Hop]:
    """Yield the host and the jump hosts before it, the host first."""
    here: Hop | None = hop
    while here is not None:
        yield here
        here = here.via


def _place(config: ClientConfig) -> str:
    return f"{config.user}@{config.hostname}:{config.port}"
