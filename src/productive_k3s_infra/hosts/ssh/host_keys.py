"""Which keys prove a host, and what happens with one that nobody knows.

In this order, and the first that knows anything decides: the cluster file or the provider, what a person trusted in
this run, the team's committed known_hosts, and the known_hosts files of the person's OpenSSH. A key that only the
latter know is written into the team's file as soon as the host has shown it: the person has said yes to it before.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from productive_k3s_infra.errors import BadInput, HostKeyMismatch
from productive_k3s_infra.hosts.ssh import known_hosts
from productive_k3s_infra.hosts.ssh.hops import Hop
from productive_k3s_infra.hosts.ssh.tokens import UnknownToken

Trust = Callable[[str, tuple[str, ...]], bool]
Lists = tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]


@dataclass(frozen=True)
class Known:
    """What is known of one host: keys, authorities that vouch for keys, revoked keys, and where it stands."""

    keys: tuple[asyncssh.SSHKey, ...] = ()
    authorities: tuple[asyncssh.SSHKey, ...] = ()
    revoked: tuple[asyncssh.SSHKey, ...] = ()
    source: str = ""
    is_persons: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody has said what proves the host."""
        return not self.keys and not self.authorities

    @property
    def lists(self) -> Lists:
        """As asyncssh wants it."""
        return list(self.keys), list(self.authorities), list(self.revoked)

    def mismatch(self, error: Exception, hop: Hop, where: str, shown: asyncssh.SSHKey | None) -> HostKeyMismatch:
        """Return the error for a key that is not the known one."""
        known = ", ".join(map(fingerprint, (*self.keys, *self.authorities))) or "none"
        seen = f"{kind(shown)} {fingerprint(shown)}" if shown is not None else str(error)
        if "revoked" in str(error):
            return HostKeyMismatch(
                "the host presents a key that is marked as revoked",
                where=where,
                evidence=f"{hop}: {error}",
                remedy="give the host a new key, and add that to known_hosts",
            )
        anew = f"put its new key into {self.source}"
        if self.is_persons:
            name = known_hosts.name_of(hop.names[0], hop.port, is_alias=hop.config.host_key_alias is not None)
            anew = f"ssh-keygen -R '{name}' -f {self.source.partition(', ')[0]}"
        return HostKeyMismatch(
            "the host presents a different key from the one known for it: it may be another machine",
            where=where,
            evidence=f"{hop} presents {seen}; known is {known} ({self.source})",
            remedy=f"find out why; if the host was recreated: {anew}",
        )


@dataclass
class HostKeys:
    """What is known of hosts, for one fleet. `team` is the committed file, None: there is none."""

    team: Path | None
    trust: Trust
    questions: asyncio.Lock
    _trusted: dict[Hop, asyncssh.SSHKey] = field(default_factory=dict)
    _files: _PersonsFiles = field(default_factory=lambda: _PersonsFiles({}))

    def known(self, hop: Hop) -> Known:
        """Return what proves a host. Raises BadInput for a key or a team's file that is none."""
        if hop.host_keys:
            return Known(tuple(_import(key, hop) for key in hop.host_keys), source="the cluster file")
        if hop in self._trusted:
            return Known((self._trusted[hop],), source="the key accepted earlier in this run")
        theirs = [(path, self._files.read(path)) for path in _persons_files(hop)]
        team = _found(_read_team(self.team), hop, hop.names)
        persons = [(path, _found(lines, hop, hop.names[:1])) for path, lines in theirs]
        revoked = (*team.revoked, *(key for _, one in persons for key in one.revoked))
        if not team.is_empty:
            return Known(team.keys, team.authorities, revoked, str(self.team))
        sources = [str(path) for path, one in persons if not one.is_empty]
        return Known(
            tuple(key for _, one in persons for key in one.keys),
            tuple(key for _, one in persons for key in one.authorities),
            revoked,
            ", ".join(sources) or str(self.team or "known_hosts beside the cluster file"),
            is_persons=bool(sources),
        )

    def confirm(self, hop: Hop, known: Known, shown: asyncssh.SSHKey | None) -> None:
        """Tell the team of a key that the host has proven with, and that only the person's own files knew."""
        if known.is_persons and shown is not None and shown in known.keys:
            self._remember(hop, shown)

    async def learn(self, hop: Hop, where: str, shown: asyncssh.SSHKey) -> None:
        """Ask once whether a key is the host's, and remember it; raises HostKeyMismatch if nobody says so."""
        is_trusted = False
        if hop.config.asks:
            async with self.questions:
                is_trusted = await asyncio.to_thread(self.trust, where, (f"{kind(shown)} {fingerprint(shown)}",))
        if not is_trusted:
            place = self.team or "known_hosts beside the cluster file"
            raise HostKeyMismatch(
                "the host's key is not known and has not been confirmed",
                where=where,
                evidence=f"{hop} presents {kind(shown)} {fingerprint(shown)}",
                remedy=f"compare it on the host's console (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub); "
                f"then add to {place}: {_line(hop, shown)}",
                code="ssh.host-key-unknown",
            )
        self._remember(hop, shown)

    def _remember(self, hop: Hop, key: asyncssh.SSHKey) -> None:
        self._trusted[hop] = key
        if self.team is not None:
            known_hosts.append(self.team, _line(hop, key))


def kind(key: asyncssh.SSHKey) -> str:
    """PURE: return the kind of a key, `ssh-ed25519`."""
    return key.algorithm.decode()


def fingerprint(key: asyncssh.SSHKey) -> str:
    """PURE: return a key's fingerprint as ssh-keygen prints it."""
    return key.get_fingerprint()


def _line(hop: Hop, key: asyncssh.SSHKey) -> str:
    """Return the line for a key: the name of the cluster file, then the one that this computer's ssh looks for."""
    names = [known_hosts.name_of(hop.address, hop.port)]
    names.append(known_hosts.name_of(hop.names[0], hop.port, is_alias=hop.config.host_key_alias is not None))
    kind_and_body = key.export_public_key("openssh").decode().split()[:2]
    return " ".join((",".join(dict.fromkeys(names)), *kind_and_body))


def _import(text: str, hop: Hop) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(text)
    except asyncssh.KeyImportError as error:
        raise BadInput(
            "a host key is not a public key",
            where=str(hop),
            evidence=f"{text[:60]}: {error}",
            remedy="copy `type AAAA...` of /etc/ssh/ssh_host_ed25519_key.pub there, without the name at its end",
            code="ssh.host-key",
        ) from error


def _read_team(path: Path | None) -> asyncssh.SSHKnownHosts:
    entries = asyncssh.import_known_hosts("")
    for number, line in enumerate(known_hosts.read(path).splitlines(), 1):
        try:
            entries.load(line)
        except ValueError as error:
            raise BadInput(
                "a line of known_hosts cannot be read",
                where=f"{path}:{number}",
                evidence=str(error),
                remedy="correct or remove it; a line is `name type AAAA...`, as ssh-keyscan prints it",
                code="known-hosts.invalid",
            ) from error
    return entries


def _persons_files(hop: Hop) -> Iterable[Path]:
    for text in hop.config.known_hosts_files:
        try:
            yield from _paths(hop.tokens.path(text).split(" "))
        except UnknownToken:
            continue  # OpenSSH could not name it either


def _paths(words: list[str]) -> Iterable[Path]:
    """Yield the paths of a line that `ssh -G` prints: blanks are between them, and inside some."""
    while words:
        ends = (n for n in range(len(words), 0, -1) if Path(" ".join(words[:n])).exists())
        end = next(ends, 1)
        yield Path(" ".join(words[:end]))
        words = words[end:]


@dataclass(frozen=True)
class _PersonsFiles:
    """Files of OpenSSH's, read once: they may be long, and all hosts ask them."""

    read_before: dict[Path, asyncssh.SSHKnownHosts]

    def read(self, path: Path) -> asyncssh.SSHKnownHosts:
        """Read one as OpenSSH does: a line that it does not understand, or a file, is not there."""
        if path not in self.read_before:
            self.read_before[path] = _odd_lines_left_out(path)
        return self.read_before[path]


def _odd_lines_left_out(path: Path) -> asyncssh.SSHKnownHosts:
    entries = asyncssh.import_known_hosts("")
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                entries.load(line)
    return entries


def _found(entries: asyncssh.SSHKnownHosts, hop: Hop, names: tuple[str, ...]) -> Known:
    """Return what the entries say of a host that is known by one of the names."""
    keys: list[asyncssh.SSHKey] = []
    authorities: list[asyncssh.SSHKey] = []
    revoked: list[asyncssh.SSHKey] = []
    for name in names:
        # An alias stands for itself, whatever the port; else a name without a port is looked for as well.
        port = None if hop.port == asyncssh.DEFAULT_PORT or name == hop.config.host_key_alias else hop.port
        found = entries.match(name, name if _is_ip(name) else "", port)
        for into, more in zip((keys, authorities, revoked), found[:3], strict=True):
            into.extend(key for key in more if key not in into)
    return Known(tuple(keys), tuple(authorities), tuple(revoked))


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
