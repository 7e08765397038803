"""The words for the person's own `ssh` to a host as pk3s reaches it: the same user, key, jump host and proof."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from pathlib import Path

from productive_k3s_infra._files import at_home
from productive_k3s_infra.hosts.ssh import known_hosts
from productive_k3s_infra.hosts.ssh.hops import Hop, Ways
from productive_k3s_infra.hosts.ssh.host_keys import HostKeys, Known
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.model import Endpoint


@dataclass(frozen=True)
class OwnClient:
    """`words` are an argument vector, without a command for the host; `known_hosts` is to be in the file it names."""

    words: tuple[str, ...]
    known_hosts: str


async def own_client(
    endpoint: Endpoint, name: str, *, openssh: OpenSsh, team: Path, known_file: Path, alias: str
) -> OwnClient:
    """Return how `ssh` reaches an endpoint.

    A key that is known is the only one that proves the host, written for `known_file`. Of a host that nobody knows,
    ssh itself asks the person, and puts the answer into the team's file, as pk3s does.
    """
    hop = await Ways(openssh).to(endpoint, name)
    keys = HostKeys(team, lambda _where, _keys: False, asyncio.Lock())
    made = _Making(openssh, team, known_file, keys)
    words = made.words(hop, endpoint, alias)
    return OwnClient(("ssh", *words, hop.address), "".join(made.lines))


@dataclass
class _Making:
    openssh: OpenSsh
    team: Path
    known_file: Path
    keys: HostKeys

    def __post_init__(self) -> None:
        self.lines: list[str] = []

    def words(self, hop: Hop, endpoint: Endpoint, alias: str) -> tuple[str, ...]:
        """Return the options for one host; those of its jump host are in its ProxyCommand."""
        said = ["-F", self.openssh.file] if self.openssh.file else []
        said += ["-l", hop.user, "-p", str(hop.port)]
        if endpoint.key:
            # Not -i, which first looks for the file as it is written and then reads tokens in it.
            said += ["-o", f"IdentityFile={_path(at_home(endpoint.key))}", "-o", "IdentitiesOnly=yes"]
        said += self._proof(hop, alias)
        if endpoint.jump is not None and hop.via is not None:
            through = ("ssh", *self.words(hop.via, endpoint.jump, f"{alias}-jump"))
            # ssh reads % in a ProxyCommand as a token: those of the words are not.
            quoted = shlex.join((*through, "-W")).replace("%", "%%")
            said += ["-o", f"ProxyCommand={quoted} '[%h]:%p' {shlex.quote(hop.via.address)}"]
        return tuple(said)

    def _proof(self, hop: Hop, alias: str) -> list[str]:
        known = self.keys.known(hop)
        if known.is_empty or known.authorities:
            files = (_path(self.team), *hop.config.known_hosts_files)
            strict = "ask" if hop.config.asks and known.is_empty else "yes"
            return ["-o", f"UserKnownHostsFile={' '.join(files)}", "-o", f"StrictHostKeyChecking={strict}"]
        self.lines += _lines(known, known_hosts.name_of(alias, hop.port, is_alias=True))
        return [
            *("-o", f"HostKeyAlias={alias}", "-o", f"UserKnownHostsFile={_path(self.known_file)}"),
            *("-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no"),
        ]


def _lines(known: Known, alias: str) -> list[str]:
    keys = [("", key) for key in known.keys] + [("@revoked ", key) for key in known.revoked]
    return [f"{mark}{alias} {' '.join(key.export_public_key().decode().split()[:2])}\n" for mark, key in keys]


def _path(path: Path) -> str:
    """Return a path as ssh_config(5) takes it among others."""
    return '"' + str(path).replace("%", "%%") + '"'
