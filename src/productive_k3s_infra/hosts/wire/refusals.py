"""PURE: why the one command did not run on a host, from its exit status and what it said on standard error."""

from __future__ import annotations

from collections.abc import Sequence

from productive_k3s_infra.errors import HostProgramFailed, Pk3sError, SudoRefused
from productive_k3s_infra.hosts.wire.bootstrap import COMMAND, OLD_PYTHON, PYTHON

_NOT_FOUND = 127
# sudo, and sudo-rs
_PASSWORD_WANTED = ("a password is required", "interactive authentication is required")
_NOT_ALLOWED = ("sorry, user", "is not in the sudoers file", "may not run sudo")
_MISSING = ("not found", "no such file")


def explain(host: str, user: str, exit_status: int | None, said: Sequence[str]) -> Pk3sError | None:
    """Return the error for a command that gave no hello, or None if it was something else. `said` is oldest first."""
    for line in said:
        small = line.lower()
        if any(text in small for text in _PASSWORD_WANTED):
            return password_wanted(host, user, line)
        if OLD_PYTHON in small:
            return _old_python(host, line)
        if any(text in small for text in _MISSING) and "python3" in small:
            return _no_python(host, line)
        if any(text in small for text in _MISSING) and "sudo" in small:
            return _no_sudo(host, user, line)
        if small.startswith("sudo") or any(text in small for text in _NOT_ALLOWED):
            return _not_allowed(host, user, line)
    if exit_status == _NOT_FOUND:
        return _no_python(host, said[-1] if said else f"exit status {exit_status}")
    return None


def password_wanted(host: str, user: str, evidence: str) -> SudoRefused:
    """sudo wants a password, and there is nobody to ask for it."""
    return SudoRefused(
        f"sudo wants the password of {user}",
        where=host,
        evidence=evidence,
        remedy=f"run pk3s at a terminal, or allow the one command without a password: {sudoers_line(user)}",
        code="sudo.password-wanted",
    )


def wrong_password(host: str, user: str) -> SudoRefused:
    """The password that was given is not the user's."""
    return SudoRefused(
        f"sudo does not accept the password of {user}",
        where=host,
        evidence="sudo asked again",
        remedy="run pk3s again and give the password of that user on that host",
        code="sudo.wrong-password",
    )


def sudoers_line(user: str) -> str:
    """Return the line that allows a user exactly the one command."""
    return f"{user} ALL=(root) NOPASSWD: {' '.join(COMMAND)}"


def _old_python(host: str, line: str) -> HostProgramFailed:
    return HostProgramFailed(
        "the host's Python is too old",
        where=host,
        evidence=f"{PYTHON} is {line.rpartition(' ')[2]}",
        remedy="Python 3.9 or newer is needed: use a newer release of the host's system",
        code="host.old-python",
    )


def _no_python(host: str, line: str) -> HostProgramFailed:
    return HostProgramFailed(
        "there is no Python on the host",
        where=host,
        evidence=line,
        remedy=f"install it so that {PYTHON} is there, for example: apt-get install python3",
        code="host.no-python",
    )


def _no_sudo(host: str, user: str, line: str) -> SudoRefused:
    return SudoRefused(
        "there is no sudo on the host",
        where=host,
        evidence=line,
        remedy=f"install sudo there and allow the one command: {sudoers_line(user)}; or log in as root",
        code="sudo.missing",
    )


def _not_allowed(host: str, user: str, line: str) -> SudoRefused:
    return SudoRefused(
        f"sudo does not let {user} run the one command",
        where=host,
        evidence=line,
        remedy=f"write into /etc/sudoers.d/pk3s there: {sudoers_line(user)}",
    )
