"""Files of this computer that a cluster file names: private keys, the directory of a release, files for the hosts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from productive_k3s_infra._files import at_home
from productive_k3s_infra.cluster_file.mistake import Found, Objection, Path, found, quoted
from productive_k3s_infra.cluster_file.provider import capabilities_of
from productive_k3s_infra.cluster_file.tree import Tree

_SOURCE: Path = ("spec", "k3s", "artifacts", "source")
_DELIVERY: Path = ("spec", "k3s", "artifacts", "delivery")
_URLS = ("https://", "http://")
# They travel in each request, and are shown in plans; a policy or an admission configuration has some kilobytes.
MOST_CONTENT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Folder:
    """Where names of files in a cluster file start: beside the file, and for ~ at home."""

    beside: FilePath
    home: str

    @classmethod
    def of(cls, file: FilePath, environment: Mapping[str, str]) -> Folder:
        """Return the folder of a cluster file."""
        return cls(file.absolute().parent, environment.get("HOME") or str(at_home("~")))

    def find(self, name: str) -> FilePath:
        """Return the absolute path that a name means."""
        if name == "~" or name.startswith("~/"):
            return FilePath(self.home) / name[2:]
        return self.beside / name


def is_directory_source(source: str) -> bool:
    """Tell whether a source names a directory of this computer."""
    return source != "release" and "://" not in source


def check_files(tree: Tree, folder: Folder) -> Iterator[Found]:
    """Yield keys that cannot be used, and a source that does not exist or does not fit its delivery."""
    nodes = tree.get("spec", "nodes")
    count = len(nodes) if isinstance(nodes, list) else 0
    blocks: list[Path] = [("spec", "ssh"), *(("spec", "nodes", index, "ssh") for index in range(count))]
    for path in (place for block in blocks for place in ((*block, "key"), (*block, "jump", "key"))):
        name = tree.text(*path)
        objection = _key(name, folder) if name else None
        if objection is not None:
            yield Found(path, objection)
    yield from _source(tree, folder)
    for block in (("spec", "k3s", "files"), *(("spec", "nodes", index, "k3s", "files") for index in range(count))):
        for name in tree.mapping(*block):
            where = tree.text(*block, name)
            content = read_content(where, folder) if where else None
            if isinstance(content, Objection):
                yield Found((*block, name), content)


def read_content(name: str, folder: Folder) -> str | Objection:
    """Return the text of a file that hosts shall have, or why it cannot be used."""
    shown = f"the file {quoted(name)}"
    try:
        path = folder.find(name)
        if not path.is_file():
            return Objection("file.content", f"{shown} is not there", "a file of this computer")
        size = path.stat().st_size
        if size > MOST_CONTENT_BYTES:
            return Objection("file.content", f"{shown} has {size} bytes", f"at most {MOST_CONTENT_BYTES}")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return Objection("file.content", f"{shown} is not UTF-8", "text")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Objection("file.content", f"{shown} cannot be read: {reason}", "a file of this computer")
    if "PRIVATE KEY-----" in text:
        remedy = "put it on the hosts yourself: plans show what is in these files"
        return Objection("file.secret", f"{shown} holds a private key", remedy=remedy)
    return text


def _key(name: str, folder: Folder) -> Objection | None:
    try:
        path = folder.find(name)
        status = path.stat()
        readable = os.access(path, os.R_OK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Objection("file.key", f"the key {quoted(name)} cannot be read: {reason}", "a private key")
    if not stat.S_ISREG(status.st_mode):
        return Objection("file.key", f"the key {quoted(name)} is not a file", "a private key")
    if not readable:
        what = f"the key {quoted(name)} cannot be read: Permission denied"
        return Objection("file.key", what, remedy=f"chown it to the user of pk3s, chmod 600 {path}")
    if path.suffix == ".pub":
        return Objection("file.key", f"the key {quoted(name)} is the public half", "the private key")
    if stat.S_IMODE(status.st_mode) & 0o077:
        what = f"the key {quoted(name)} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})"
        return Objection("file.key", what, remedy=f"chmod 600 {path}")
    return None


def _source(tree: Tree, folder: Folder) -> Iterator[Found]:
    source = tree.text(*_SOURCE)
    can = capabilities_of(tree.text("spec", "provider", "kind"))
    if source in (None, "release") and tree.text(*_DELIVERY) == "pull" and can and not can.machines_have_way_out:
        what = "machines of this provider have no internet access, so they cannot pull from GitHub"
        yield found(_DELIVERY, "file.delivery", what, remedy="leave delivery out: this computer downloads and uploads")
    if not source or source == "release":
        return
    expected = "release, a mirror's URL, or a directory"
    if not is_directory_source(source):
        if not source.startswith(_URLS):
            yield found(_SOURCE, "file.source", f"{quoted(source)} is not the URL of a mirror", expected="https://...")
        return
    try:
        exists = folder.find(source).is_dir()
    except (OSError, ValueError):
        exists = False
    if not exists:
        yield found(_SOURCE, "file.source", f"the directory {quoted(source)} does not exist", expected=expected)
    if tree.text(*_DELIVERY) == "pull":
        what = "hosts cannot pull from a directory of this computer"
        yield found(_DELIVERY, "file.delivery", what, remedy="delivery: push (or auto), or a mirror's URL as source")
