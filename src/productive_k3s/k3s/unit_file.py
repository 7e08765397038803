"""PURE: systemd units and environment files, compared by what they say."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from typing import Dict, List, Sequence, Tuple

# What a backslash protects between double quotes (systemd.exec, EnvironmentFile=).
_ESCAPED = re.compile(r"\\([\"\\$`])")
Directive = Tuple[str, str, str]


def directives(text: str) -> Tuple[Directive, ...]:
    """Return (section, key, value) in order; comments go, continued lines are one (systemd.syntax)."""
    found: List[Directive] = []
    section = ""
    for line in _joined(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line:
            key, _, value = line.partition("=")
            found.append((section, key.strip(), " ".join(value.split())))
    return tuple(found)


def _joined(text: str) -> List[str]:
    lines: List[str] = []
    pending = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        if pending or line:
            lines.append((pending + line).strip())
        pending = ""
    return [*lines, pending.strip()] if pending.strip() else lines


def command_words(value: str) -> Tuple[str, ...]:
    """Return the words of a command line, quoted as in a shell (systemd.service, command lines)."""
    try:
        return tuple(shlex.split(value))
    except ValueError:
        return tuple(value.split())


def meaning(texts: Sequence[str]) -> str:
    """Digest what a unit and its drop-ins say. Arguments after the sub-command are configuration, so not part of it."""
    said = [without_arguments(item) for text in texts for item in directives(text)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def without_arguments(directive: Directive) -> Directive:
    """Return the line of a unit without what its command says after the sub-command."""
    section, key, value = directive
    return (section, key, " ".join(value.split()[:2])) if key == "ExecStart" else directive


def environment(text: str) -> Dict[str, str]:
    """Return the variables of an environment file (systemd.exec, EnvironmentFile=)."""
    found: Dict[str, str] = {}
    for line in _joined(text):
        key, equals, value = line.partition("=")
        if equals:
            found[key.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "'\"":
        return value
    return value[1:-1] if value[0] == "'" else _ESCAPED.sub(r"\1", value[1:-1])


def environment_meaning(texts: Sequence[str]) -> str:
    """Digest what several environment files say together, the last one winning; '' if they say nothing."""
    together: Dict[str, str] = {}
    for text in texts:
        together.update(environment(text))
    return hashlib.sha256(json.dumps(together, sort_keys=True).encode()).hexdigest() if together else ""
