"""PURE: what it means that a `multipass` command failed, from its exit code and what it said.

Multipass has few exit codes (include/multipass/cli/return_codes.h: 1 command line, 2 failed, 3 daemon; 5 its own
timeout) and no codes inside them, so that the text has to be read: the texts are those of its sources, 1.13 to 1.16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from productive_k3s_infra.errors import ProcessFailed, ProviderFailed

if TYPE_CHECKING:
    from productive_k3s_infra._process import ProcessResult

INSTALL = "install it (Linux: snap install multipass; macOS: brew install --cask multipass)"
_TIMEOUT_EXIT, _DAEMON_EXIT = 5, 3
_DAEMON = (
    "cannot connect to the multipass socket",
    "failed to connect to all addresses",
    "connection refused",
    "is multipassd running",
)
_NO_ACCESS = ("multipass socket access denied", "not authenticated with the multipass service")
_TAKEN = ("already exists", "is being prepared", "already in use")
_TIMED_OUT = ("timed out waiting", "timed out")
# Its list of images comes from the network, and is gone for a while after the daemon's start
# (canonical/multipass issues 1853, 3464, 4703).
_TRANSIENT = (
    'remote "" is unknown or unreachable',
    "failed to download",
    "cannot retrieve headers",
    "network timeout",
    "temporary failure in name resolution",
)
_ABSENT = "does not exist"


class TransientLaunch(ProviderFailed):
    """A launch that failed for a reason that passes; nothing was made."""


@dataclass(frozen=True)
class _Meaning:
    texts: tuple[str, ...]
    what: str
    remedy: str
    code: str
    only: str = ""


_LAUNCH_REMEDY = "`multipass find` must list the image, and the computer must have the memory, disk and virtualisation"
_MEANINGS = (
    _Meaning(
        _DAEMON,
        "the Multipass daemon does not answer",
        "start it (Linux: snap restart multipass.multipassd; macOS: sudo launchctl kickstart -k "
        "system/com.canonical.multipassd), then run pk3s again",
        "multipass.daemon-down",
    ),
    _Meaning(
        _NO_ACCESS,
        "Multipass does not let this user in",
        "run pk3s as a user who may use Multipass: `multipass authenticate`, or the group that owns its socket",
        "multipass.no-access",
    ),
    _Meaning(
        _TAKEN,
        "an instance of this name exists that pk3s did not create",
        "give the cluster or the node another name in the cluster file, or delete that instance yourself",
        "multipass.name-taken",
        only="launch",
    ),
    _Meaning(
        _TIMED_OUT,
        "Multipass timed out waiting for the instance",
        "it may still be starting: pk3s apply continues waiting; `multipass info` and its logs show its state",
        "multipass.launch-timeout",
    ),
)


def explain(command: str, instance: str, result: ProcessResult) -> ProviderFailed:
    """Return the error for a sub-command that ended with an exit code other than 0."""
    said = " ".join((result.stderr.strip() or result.stdout.strip()).split())
    small = said.lower()
    for meaning in _MEANINGS:
        if meaning.only not in {"", command}:
            continue
        by_exit = {"multipass.daemon-down": _DAEMON_EXIT, "multipass.launch-timeout": _TIMEOUT_EXIT}.get(meaning.code)
        if result.exit_code == by_exit or any(text in small for text in meaning.texts):
            return ProviderFailed(meaning.what, where=instance, evidence=said, remedy=meaning.remedy, code=meaning.code)
    if command == "launch":
        kind = TransientLaunch if any(text in small for text in _TRANSIENT) else ProviderFailed
        return kind(
            "Multipass could not launch the instance",
            where=instance,
            evidence=said,
            remedy=_LAUNCH_REMEDY,
            code="multipass.launch-failed",
        )
    return ProviderFailed(
        f"multipass {command} failed",
        where=instance,
        evidence=said or f"exit code {result.exit_code}",
        remedy=f"try it yourself: multipass {command} {instance}".rstrip(),
        code="multipass.failed",
    )


def is_absent(result: ProcessResult) -> bool:
    """Say whether the command failed because there is no such instance."""
    return result.exit_code != 0 and _ABSENT in f"{result.stderr}{result.stdout}".lower()


def not_run(command: str, instance: str, error: ProcessFailed) -> ProviderFailed:
    """Return the error for a command that could not be started or did not end."""
    make: Callable[[], ProviderFailed] = {
        "process.missing": _missing,
        "process.timeout": lambda: _no_answer(command, instance, error),
    }.get(error.code, lambda: error)
    return make()


def _missing() -> ProviderFailed:
    return ProviderFailed(
        "Multipass is not installed on this computer",
        evidence="the command multipass is not in PATH",
        remedy=INSTALL,
        code="multipass.missing",
    )


def _no_answer(command: str, instance: str, error: ProcessFailed) -> ProviderFailed:
    if command in {"launch", "start"}:
        return ProviderFailed(
            "Multipass timed out waiting for the instance",
            where=instance,
            evidence=f"{error.what}; {error.evidence}",
            remedy="it may still be starting: pk3s apply continues waiting",
            code="multipass.launch-timeout",
        )
    return ProviderFailed(
        "Multipass does not finish its answer",
        where=instance,
        evidence=f"{error.what}; {error.evidence}",
        remedy="its daemon hangs: restart it (Linux: snap restart multipass.multipassd), then run pk3s again",
        code="multipass.no-answer",
    )
