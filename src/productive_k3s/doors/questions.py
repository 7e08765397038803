"""PURE: the commands that may be run to know something. None of them changes a host, and there are no others.

Whoever is given the reading half of the door asks by name: the words of a question are values, never options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Mapping, Tuple

Question = Literal[
    "addresses",
    "architecture",
    "default-route-6",
    "images",
    "journal",
    "k3s-version",
    "routes",
    "selinux-label",
    "sockets",
    "unit",
    "unit-log",
    "unit-log-since",
    "units",
    "units-before-247",
]
# Stands for all words of a question, and for one of them.
_ALL, _ONE = "{*}", "{}"
_WORD = re.compile(r"[A-Za-z0-9_./@:+][A-Za-z0-9_./@:+-]*")
_UNITS = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,NRestarts,InvocationID,ExecMainStartTimestamp,"
    "ActiveEnterTimestamp,FragmentPath,DropInPaths,NeedDaemonReload"
)
_UNIT = (
    "LoadState,NeedDaemonReload,"
    "ActiveState,SubState,NRestarts,InvocationID,MainPID,ExecMainStatus,ExecMainStartTimestampMonotonic"
)


@dataclass(frozen=True)
class Command:
    """What is run for a question; `timeout` in seconds."""

    argv: Tuple[str, ...]
    timeout: float = 30.0
    environment: Mapping[str, str] = field(default_factory=dict)


_UTC = {"TZ": "UTC"}
_COMMANDS: Mapping[Question, Command] = {
    "addresses": Command(("ip", "-json", "addr"), 10.0),
    "architecture": Command(("uname", "-m"), 10.0),
    "default-route-6": Command(("ip", "-6", "-json", "route", "show", "default"), 10.0),
    # The names of all images of K3s' containerd.
    "images": Command((_ONE, "ctr", "-n", "k8s.io", "images", "ls", "-q")),
    # The last words of a unit since a time in Unix seconds.
    "journal": Command(
        ("journalctl", "-u", _ONE, "--since=@{}", "-n", _ONE, "-o", "cat", "--no-pager", "-q"),
    ),
    "k3s-version": Command((_ONE, "--version")),
    "routes": Command(("ip", "-json", "route"), 10.0),
    # What the policy says that a file of this path is to be labelled (matchpathcon(8)).
    "selinux-label": Command(("matchpathcon", "-n", "-m", "file", _ONE)),
    "sockets": Command(("ss", "-H", "-l", "-n", "-t", "-u", "-p"), 10.0),
    "unit": Command(("systemctl", "show", _ONE, "-p", _UNIT)),
    # For people: with times, from the end.
    "unit-log": Command(("journalctl", "-u", _ONE, "-n", _ONE, "-o", "short-iso", "--no-pager", "-q")),
    "unit-log-since": Command(
        ("journalctl", "-u", _ONE, "--since=@{}", "-n", _ONE, "-o", "short-iso", "--no-pager", "-q")
    ),
    # Times in UTC with microseconds where systemctl can (247 and newer).
    "units": Command(("systemctl", "show", _ALL, "-p", _UNITS, "--timestamp=us"), 30.0, _UTC),
    "units-before-247": Command(("systemctl", "show", _ALL, "-p", _UNITS), 30.0, _UTC),
}


def command_of(question: Question, words: Tuple[str, ...]) -> Command:
    """Return the command that answers a question; a word that is no plain value is a ValueError."""
    for word in words:
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} is no word of a question")
    template = _COMMANDS[question]
    left = list(words)
    argv = []
    for part in template.argv:
        if part == _ALL:
            argv.extend(left)
            left = []
        else:
            argv.append(part.replace(_ONE, left.pop(0)) if _ONE in part and left else part)
    if left or any(_ONE in part for part in argv):
        raise ValueError(f"{question} does not take the words {words!r}")
    return Command(tuple(argv), template.timeout, template.environment)
