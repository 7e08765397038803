"""Every exception of asyncssh and of the system is one of ours; a new one in asyncssh fails here."""

from __future__ import annotations

import errno
import socket
import string

import asyncssh
import pytest

from productive_k3s_infra.errors import AuthenticationRefused, HostUnreachable, Pk3sError
from productive_k3s_infra.hosts.ssh import errors
from productive_k3s_infra.hosts.ssh.client_config import ClientConfig
from productive_k3s_infra.hosts.ssh.hops import Hop

HOP = Hop("10.0.0.11", "ops", 22, ClientConfig("10.0.0.11", "ops", 22))


def exceptions(below: type[BaseException] = Exception) -> dict[str, type[BaseException]]:
    """All that asyncssh can raise as it is loaded here."""
    found: dict[str, type[BaseException]] = {}
    for kind in below.__subclasses__():
        if kind.__module__.startswith("asyncssh."):
            found[kind.__name__] = kind
        found.update(exceptions(kind))
    return found


def test_every_exception_of_asyncssh_has_a_meaning() -> None:
    known = exceptions()
    assert len(known) > 50, "asyncssh keeps its exceptions elsewhere now"
    unmapped = {
        name
        for name, kind in known.items()
        if name not in errors.MEANINGS and name not in errors.NEVER_RAISED and not issubclass(kind, asyncssh.SFTPError)
    }
    assert unmapped == set()


def test_no_meaning_is_left_of_an_exception_that_went() -> None:
    assert set(errors.MEANINGS) <= set(exceptions())
    assert errors.NEVER_RAISED - set(exceptions()) <= {"GSSError"}


def test_remedies_name_only_what_is_known() -> None:
    for meaning in errors.MEANINGS.values():
        names = {name for _, name, _, _ in string.Formatter().parse(meaning.remedy) if name}
        assert names <= {"user", "address", "port", "ssh"}
        assert meaning.remedy


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (asyncssh.PermissionDenied("Permission denied"), AuthenticationRefused, "ssh.authentication"),
        (asyncssh.ConnectionLost("Connection lost"), HostUnreachable, "ssh.connection-lost"),
        (asyncssh.ProtocolNotSupported("no"), HostUnreachable, "ssh.protocol"),
        (asyncssh.DisconnectError(11, "bye"), HostUnreachable, "ssh.connection-lost"),
        (socket.gaierror(-2, "Name or service not known"), HostUnreachable, "ssh.unknown-name"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), HostUnreachable, "ssh.refused"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), HostUnreachable, "ssh.connection-lost"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), HostUnreachable, "ssh.no-route"),
        (OSError(f"Multiple exceptions: [Errno {errno.ECONNREFUSED}] x, [Errno 2] y"), HostUnreachable, "ssh.refused"),
        (TimeoutError(), HostUnreachable, "ssh.timeout"),
        (OSError(errno.EIO, "Input/output error"), HostUnreachable, "ssh.unreachable"),
    ],
)
def test_what_an_exception_means(error: Exception, kind: type[Pk3sError], code: str) -> None:
    found = errors.explain(error, HOP, "node-1")
    assert type(found) is kind
    assert found.code == code
    assert found.where == "node-1"
    assert found.evidence
    assert "{" not in found.remedy


def test_a_bug_stays_a_bug() -> None:
    assert errors.explain(ValueError("ours"), HOP, "node-1") is None
