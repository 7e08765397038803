"""The exceptions of the orchestration.

    Pk3sError
    ├── ClusterFileInvalid       exit 2   mistakes in the cluster file, all of them at once
    ├── BadInput                 exit 2   an argument, an environment variable, a path
    ├── Refused                  exit 4   preflight, a host's veto, or a plan that nobody agreed to
    │   └── NotAgreed
    ├── StepFailed               exit 5   a step or a wait failed on a host
    │   ├── HostUnreachable
    │   ├── HostKeyMismatch
    │   ├── AuthenticationRefused
    │   ├── SudoRefused
    │   ├── HostProgramFailed    no Python, no result, noise instead of the wire
    │   └── ProviderFailed
    │       └── ProcessFailed    a program on this computer
    ├── Locked                   exit 7   another pk3s holds the cluster directory
    └── Interrupted              exit 130

An expected failure of one host is a value (`productive_k3s.contract.failure.Failure` in a `StepResult`), not an
exception; these are raised where nothing further can be done in the operation.
"""

from __future__ import annotations

from typing import ClassVar

from productive_k3s.contract.exit_code import ExitCode


class Pk3sError(Exception):
    """What happened, where, the evidence in one line, and what to do next. Only `cli` prints it.

    `code` is the stable failure code (`ssh.host-key-changed`), the key into the docs. `journal` is the path of the
    run's journal, '' where none was begun; whoever holds the journal sets it when the error passes.
    """

    exit_code: ClassVar[int] = ExitCode.BUG
    default_code: ClassVar[str] = "pk3s.bug"

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        evidence: str = "",
        remedy: str = "",
        code: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.evidence = evidence
        self.remedy = remedy
        self.code = code or self.default_code
        self.journal = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class BadInput(Pk3sError):
    """An argument, an environment variable or a path is not usable."""

    exit_code = ExitCode.BAD_INPUT
    default_code = "input.invalid"


class ClusterFileInvalid(Pk3sError):
    """The cluster file has mistakes. `mistakes` holds all of them, each with file, line and column."""

    exit_code = ExitCode.BAD_INPUT
    default_code = "file.invalid"

    def __init__(self, what: str, *, mistakes: tuple[object, ...] = (), where: str = "", remedy: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.mistakes = mistakes


class Refused(Pk3sError):
    """Nothing was changed, because changing it would harm or was not allowed."""

    exit_code = ExitCode.REFUSED


class NotAgreed(Refused):
    """The plan holds steps that nobody agreed to."""

    default_code = "plan.not-agreed"


class StepFailed(Pk3sError):
    """A step or a wait failed."""

    exit_code = ExitCode.FAILED


class HostUnreachable(StepFailed):
    """No SSH connection could be made; may be retried while a machine is being created."""

    default_code = "ssh.unreachable"


class HostKeyMismatch(StepFailed):
    """The host showed another key than the one known for it. Never retried."""

    default_code = "ssh.host-key-changed"


class AuthenticationRefused(StepFailed):
    """The host answers but does not accept the user or key."""

    default_code = "ssh.authentication"


class SudoRefused(StepFailed):
    """sudo wants a password or does not allow the one command."""

    default_code = "sudo.refused"


class HostProgramFailed(StepFailed):
    """The contract program could not be run, or gave no result."""

    default_code = "host.no-result"


class ProviderFailed(StepFailed):
    """A provider could not make, find or destroy a machine."""

    default_code = "provider.failed"


class ProcessFailed(ProviderFailed):
    """A program on this computer failed or is missing."""

    default_code = "process.failed"


class Locked(Pk3sError):
    """Another pk3s works on the same cluster directory."""

    exit_code = ExitCode.LOCKED
    default_code = "workspace.locked"


class Interrupted(Pk3sError):
    """The person stopped it."""

    exit_code = ExitCode.INTERRUPTED
    default_code = "run.interrupted"


def stopped() -> Interrupted:
    """Return what a cancelled run ends with."""
    return Interrupted("stopped", remedy="run it again: it checks the hosts and continues from there")
