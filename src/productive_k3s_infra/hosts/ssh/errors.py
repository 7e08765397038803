"""Every exception of asyncssh, by name, as ours. A test walks asyncssh's classes and fails if one is missing."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import asyncssh

from productive_k3s_infra.errors import (
    AuthenticationRefused,
    BadInput,
    HostKeyMismatch,
    HostProgramFailed,
    HostUnreachable,
    Pk3sError,
)
from productive_k3s_infra.hosts.ssh.hops import Hop

_TRY_SSH = "try: {ssh}"
_CONFIG = "check ~/.ssh/config"


@dataclass(frozen=True)
class Meaning:
    """What an exception means for a person; the remedy may name {user}, {address}, {port} and {ssh}, the command."""

    kind: type[Pk3sError]
    code: str
    what: str
    remedy: str = _TRY_SSH


_KEY = "use an OpenSSH key file that you can read, or add the key to the agent: ssh-add"
_LOST = Meaning(HostUnreachable, "ssh.connection-lost", "the SSH connection was closed before it was usable")
_NO_COMMON = Meaning(HostUnreachable, "ssh.no-common-algorithm", "the host's SSH has no algorithm in common with pk3s")
_BROKEN = Meaning(HostUnreachable, "ssh.protocol", "the reply is not valid SSH")
_USER = Meaning(AuthenticationRefused, "ssh.authentication", "the user's name cannot be used", "correct `user`")

MEANINGS: Mapping[str, Meaning] = {
    "ChannelListenError": Meaning(HostUnreachable, "ssh.no-session", "the host does not allow forwarding"),
    "ChannelOpenError": Meaning(HostProgramFailed, "ssh.no-session", "the host's SSH allows no more sessions"),
    "CompressionError": _BROKEN,
    "ConfigParseError": Meaning(BadInput, "ssh.config", "the OpenSSH configuration cannot be used", _CONFIG),
    "ConnectionLost": _LOST,
    "DisconnectError": _LOST,
    "Error": _BROKEN,
    "HostKeyNotVerifiable": Meaning(
        HostKeyMismatch,
        "ssh.host-key-unknown",
        "a host key cannot be verified",
        "add the key to known_hosts, or the jump host to the cluster file",
    ),
    "IllegalUserName": _USER,
    "KeyEncryptionError": Meaning(AuthenticationRefused, "ssh.key-encrypted", "the private key is encrypted", _KEY),
    "KeyExchangeFailed": _NO_COMMON,
    "KeyExportError": Meaning(BadInput, "ssh.key-unusable", "the private key cannot be used", _KEY),
    "KeyGenerationError": Meaning(BadInput, "ssh.key-unusable", "the private key cannot be used", _KEY),
    "KeyImportError": Meaning(BadInput, "ssh.key-unusable", "the private key cannot be used", _KEY),
    "MACError": _BROKEN,
    "PacketDecodeError": _BROKEN,
    "PasswordChangeRequired": Meaning(
        AuthenticationRefused, "ssh.authentication", "the user must change the password", "log in once with ssh"
    ),
    "PermissionDenied": Meaning(
        AuthenticationRefused,
        "ssh.authentication",
        "the host accepts none of the offered keys for this user",
        "check the user's name, and that the key is in authorized_keys there: ssh-copy-id -p {port} {user}@{address}",
    ),
    "ProtocolError": _BROKEN,
    "ProtocolNotSupported": _BROKEN,
    "SASLPrepError": _USER,
    "ServiceNotAvailable": _LOST,
}
# They belong to what is never used here: SFTP, servers, terminals, running processes to their end, ASN.1 inside keys.
NEVER_RAISED = frozenset(
    {
        *("ASN1DecodeError", "ASN1EncodeError", "ASN1Error", "BreakReceived", "GSSError", "ProcessError", "SFTPError"),
        *("SignalReceived", "SoftEOFReceived", "TerminalSizeChanged", "TimeoutError"),
    }
)
_UNREACHABLE = {
    errno.EHOSTUNREACH: (
        "ssh.no-route",
        "there is no route to the host",
        "check the address, and that the host is running",
    ),
    errno.ENETUNREACH: ("ssh.no-route", "there is no route to the host", "check this computer's network"),
    errno.ECONNREFUSED: (
        "ssh.refused",
        "nothing accepts SSH connections there",
        "check the port, and that sshd is running",
    ),
    errno.ECONNRESET: ("ssh.connection-lost", "the host closed the connection", _TRY_SSH),
    errno.ETIMEDOUT: (
        "ssh.timeout",
        "the host does not answer",
        "check the address, the port, and firewalls in between",
    ),
}


def explain(error: BaseException, hop: Hop, where: str) -> Pk3sError | None:
    """Return ours for an exception of asyncssh or of the system; None for what nobody expects."""
    names = {"user": hop.user, "address": hop.address, "port": hop.port, "ssh": hop.ssh_command}
    evidence = " ".join(str(error).split())
    if isinstance(error, OSError):
        code, what, remedy = _system(error)
        seen = f"{hop}: {evidence or type(error).__name__}"
        return HostUnreachable(what, where=where, evidence=seen, remedy=remedy.format(**names), code=code)
    for kind in type(error).__mro__:
        meaning = MEANINGS.get(kind.__name__) if kind.__module__.startswith("asyncssh.") else None
        if meaning is not None:
            remedy = meaning.remedy.format(**names)
            return meaning.kind(meaning.what, where=where, evidence=evidence, remedy=remedy, code=meaning.code)
    return None


def explained(error: Exception, hop: Hop, where: str, evidence: str = "") -> Pk3sError:
    """Return ours for one of asyncssh's or the system's; what nobody expects is raised as it is."""
    found = explain(error, hop, where)
    if found is None:
        raise error
    found.evidence = evidence or found.evidence
    return found


def tell_of_jump_host(error: Pk3sError) -> None:
    """Let an error say by itself that it is a jump host's: lists of hosts show it under the host behind."""
    host = "the host"
    error.what = error.what.replace(host, "the jump host", 1) if host in error.what else f"the jump host: {error.what}"


def jump_refused(error: asyncssh.ChannelOpenError, hop: Hop, where: str) -> HostUnreachable:
    """Return the error of a jump host that does not connect us to the host behind it."""
    there = f"{hop.config.hostname}:{hop.port}"
    return HostUnreachable(
        f"the jump host {hop.via} does not connect to {there}",
        where=hop.behind(where),
        evidence=error.reason,
        remedy=f"check that it can resolve and reach the host (there: nc -vz {hop.config.hostname} {hop.port}), "
        "and that its sshd has AllowTcpForwarding yes",
        code="ssh.jump-refused",
    )


def not_usable(error: Exception, hop: Hop, where: str) -> Pk3sError:
    """Return the error for a name, a key or an option that the SSH library cannot use; it has no class for that."""
    meant = explain(error, hop, where)
    return meant or BadInput(
        "the host cannot be reached with this name and these options",
        where=where,
        evidence=f"{hop}: {' '.join(str(error).split()) or type(error).__name__}",
        remedy=f"check the address, and the output of ssh -G {hop.address}",
        code="ssh.config",
    )


def silent_session(hop: Hop, where: str, seconds: float) -> HostProgramFailed:
    """Return the error of a host that let us in, and then says neither yes nor no to a session for a command."""
    return HostProgramFailed(
        "the login succeeded, but the host opens no session for a command; nothing was started there",
        where=where,
        evidence=f"{hop} neither opened nor refused one within {seconds:g} s",
        remedy=f"check the load and the disk of the host; try: {hop.ssh_command} true",
        code="ssh.no-session",
    )


def login_cut_off(error: Exception, hop: Hop, where: str, evidence: str) -> AuthenticationRefused:
    """Return the error of a host that closed the connection after it had seen a key: it may have said why."""
    return AuthenticationRefused(
        "the host closed the connection during the login",
        where=where,
        evidence=f"{evidence}: {error}",
        remedy=f"check on the host for /run/nologin or /etc/nologin, the account (chage -l {hop.user}), "
        "and its log: journalctl -u ssh",
        code="ssh.login-cut-off",
    )


def is_too_many_keys(error: Exception) -> bool:
    """Return whether the host cut us off because of MaxAuthTries; sshd says it in these words."""
    return isinstance(error, asyncssh.DisconnectError) and "too many authentication failures" in error.reason.lower()


def too_many_keys(error: Exception, hop: Hop, where: str, evidence: str) -> AuthenticationRefused:
    """Return the error of a host that had heard enough keys before it heard the right one."""
    return AuthenticationRefused(
        "the host closed the connection before the right key was offered: it allows only a few attempts (MaxAuthTries)",
        where=where,
        evidence=f"{evidence}: {error}",
        remedy=f"set the key of {hop.user} there: `ssh.key` in the cluster file, "
        "or IdentityFile with `IdentitiesOnly yes` in ~/.ssh/config",
        code="ssh.too-many-keys",
    )


def _system(error: OSError) -> tuple[str, str, str]:
    if isinstance(error, socket.gaierror):
        return "ssh.unknown-name", "the host's name has no address", "correct the name, or use an address"
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
    # asyncio tells of several addresses in one exception without a number.
    found = number if number is not None else _first_number(str(error))
    return _UNREACHABLE.get(found or 0, ("ssh.unreachable", "no SSH connection could be opened", _TRY_SSH))


def _first_number(text: str) -> int | None:
    numbers = (number for number in _UNREACHABLE if f"[Errno {number}]" in text)
    return next(numbers, None)
