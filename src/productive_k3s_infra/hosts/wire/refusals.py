"""Why the one command did not run on a host, from its exit status and what it said on standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from productive_k3s_infra.errors import AuthenticationRefused, HostProgramFailed, Pk3sError, SudoRefused
from productive_k3s_infra.hosts.wire.bootstrap import COMMAND, OLD_PYTHON, PYTHON

_NOT_FOUND = 127
# sudo, and sudo-rs
_PASSWORD_WANTED = ("a password is required", "interactive authentication is required")
_NOT_ALLOWED = ("sorry, user", "is not in the sudoers file", "may not run sudo", "i'm sorry ")
# It says so whatever follows, and goes on.
_WARNING = "sudo: unable to resolve host"
_MISSING = ("not found", "no such file")
# login(1), PAM and sshd, of a login or of sudo
_EXPIRED = ("password has expired", "password is expired", "password change required", "account has expired")
_NO_SHELL = ("account is currently not available", "does not accept logins", "account is disabled")


def explain(host: str, user: str, exit_status: int | None, said: Sequence[str]) -> Pk3sError | None:
    """Return the error for a command that gave no hello, or None if it was something else. `said` is oldest first.

    The lines are judged together: sudo may warn of other things before it says why it refuses.
    """
    lines = [(line, line.lower()) for line in said if _WARNING not in line]
    for is_meant, error in _MEANINGS:
        found = next((line for line, small in lines if is_meant(small)), None)
        if found is not None:
            return error(host, user, found)
    if exit_status == _NOT_FOUND:
        return _no_python(host, user, said[-1] if said else f"exit status {exit_status}")
    of_sudo = [line for line, small in lines if small.startswith(("sudo:", "sudo-rs:"))]
    return _refused(host, user, of_sudo[-1]) if of_sudo else None


def not_run(host: str, user: str, exit_status: int | None, said: Sequence[str], seconds: float | None) -> Pk3sError:
    """Return the error for a login at which something else ran than our command. `said` is oldest first.

    A forced command, a shell that lets nobody in, or a start-up file that ends: nothing was begun there. `seconds` is
    how long it was waited for, None if it ended.
    """
    words = " | ".join(said[-2:]) or "it printed nothing"
    ended = f"it exited with status {exit_status}" if seconds is None else f"it had not finished after {seconds:.0f} s"
    remedy = (
        f"log in with ssh as {user}; check its login shell there (getent passwd {user}), the shell's start-up files, "
        "and ForceCommand in sshd_config or command= in authorized_keys"
    )
    if seconds is not None and user != "root":
        remedy += "; check whether sudo answers there: sudo -n true"
    if any(text in words.lower() for text in _NO_SHELL):
        remedy = f"give {user} a login shell there (usermod --shell /bin/sh {user}), or name another user: `ssh.user`"
    return HostProgramFailed(
        "the login succeeded, but the host did not run the command; nothing was started there",
        where=host,
        evidence=f"{words} ({ended})",
        remedy=remedy,
        code="host.not-run",
    )


def password_wanted(host: str, user: str, evidence: str) -> SudoRefused:
    """sudo wants a password, and there is nobody to ask for it."""
    return SudoRefused(
        f"sudo requires the password of {user}",
        where=host,
        evidence=evidence,
        remedy=f"run pk3s on a terminal, or allow the one command without a password: {sudoers_line(user)}",
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


def _old_python(host: str, _user: str, line: str) -> HostProgramFailed:
    return HostProgramFailed(
        "the host's Python is too old",
        where=host,
        evidence=f"{PYTHON} is {line.rpartition(' ')[2]}",
        remedy="Python 3.9 or newer is needed: use a newer release of the host's operating system",
        code="host.old-python",
    )


def _no_python(host: str, _user: str, line: str) -> HostProgramFailed:
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


def _tty_wanted(host: str, user: str, line: str) -> SudoRefused:
    return SudoRefused(
        "sudo requires a terminal there, and pk3s never has one (Defaults requiretty)",
        where=host,
        evidence=line,
        remedy=f"write into /etc/sudoers.d/pk3s there: Defaults:{user} !requiretty",
        code="sudo.tty-wanted",
    )


def _expired(host: str, user: str, line: str) -> AuthenticationRefused:
    return AuthenticationRefused(
        f"the password or the account of {user} has expired there",
        where=host,
        evidence=line,
        remedy=f"log in once with ssh and set a new password; check chage -l {user} there",
        code="host.account-expired",
    )


def _refused(host: str, user: str, line: str) -> SudoRefused:
    return SudoRefused(
        f"sudo did not run the one command for {user}",
        where=host,
        evidence=line,
        remedy=f"check what sudo allows {user} there: sudo -n -l",
    )


# The first that is meant by any line.
_MEANINGS: tuple[tuple[Callable[[str], bool], Callable[[str, str, str], Pk3sError]], ...] = (
    (lambda small: any(text in small for text in _EXPIRED), _expired),
    (lambda small: "you must have a tty" in small, _tty_wanted),
    (lambda small: any(text in small for text in _PASSWORD_WANTED), password_wanted),
    (lambda small: any(text in small for text in _NOT_ALLOWED), _not_allowed),
    (lambda small: OLD_PYTHON in small, _old_python),
    (lambda small: any(text in small for text in _MISSING) and "python3" in small, _no_python),
    (lambda small: any(text in small for text in _MISSING) and "sudo" in small, _no_sudo),
)
