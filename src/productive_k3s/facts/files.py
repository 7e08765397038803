"""Files as facts: content read once, its digest, what may be shown of it."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass, replace
from typing import Callable, Mapping, Optional, Tuple

from productive_k3s.contract.facts import FileFact
from productive_k3s.doors.system import Reading, Stat
from productive_k3s.k3s.header import schema_of

# Too big for a file of configuration: it is something else, and is not read into memory.
_LIMIT_BYTES = 1 << 20
# What a file system's clock may lag: a file so young can change once more without a new ctime.
CLOCK_GRAIN_SECONDS = 0.05


@dataclass(frozen=True)
class TextFile:
    """A file's fact, and its text as it is: `text` may hold secrets and stays inside the program."""

    fact: FileFact
    text: str


Shown = Callable[[str], Optional[str]]


@dataclass(frozen=True)
class Known:
    """What an earlier run noted of large files; it holds for a file whose ctime is the same."""

    digests: Mapping[Tuple[str, float], str]
    binary: str = ""
    version: str = ""


NOTHING_KNOWN = Known({})


def as_is(text: str) -> Optional[str]:
    """Show the whole text."""
    return text


def first_lines(text: str) -> Optional[str]:
    """Show the comment at the top that says who wrote a file, and nothing else."""
    return "\n".join(line for line in text.splitlines()[:2] if line.startswith("#"))


async def read_text(system: Reading, path: str, shown: Shown = as_is) -> Optional[TextFile]:
    """Return the file, None if there is none. What is no UTF-8 is kept as replacement characters, never a crash."""
    found = await resolved(system, path)
    if found is None or found.kind == "directory":
        return None
    data = await system.read(path, _LIMIT_BYTES)
    if data is None:
        return None
    text = data.decode(errors="replace")
    digest = hashlib.sha256(data).hexdigest()
    # A script begins with the name of its shell.
    schema = schema_of("\n".join(text.splitlines()[:2]))
    return TextFile(FileFact(path, digest, found.mode, found.uid, found.changed, shown(text), schema), text)


async def resolved(system: Reading, path: str) -> Optional[Stat]:
    """Return the stat of what a path leads to; a link and its target count as changed when either was."""
    found = await system.stat(path)
    if found is None or found.kind != "link":
        return found
    target = await system.stat(posixpath.join(posixpath.dirname(path), found.link))
    return replace(target, changed=max(found.changed, target.changed)) if target is not None else None


async def large_file(system: Reading, path: str, known: Known) -> Optional[FileFact]:
    """Return a file's fact by its digest only, which is not computed again for a file that did not change."""
    found = await resolved(system, path)
    if found is None or found.kind != "file":
        return None
    digest = known.digests.get((path, found.changed)) or await system.sha256(path)
    return FileFact(path, digest, found.mode, found.uid, found.changed) if digest is not None else None


async def exists(system: Reading, path: str) -> bool:
    """Whether there is something at the path."""
    return await system.stat(path) is not None
