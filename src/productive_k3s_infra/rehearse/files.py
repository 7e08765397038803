"""Files in memory, with the habits of a Unix file system that the host program relies on."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.local_files import checksum_failure
from productive_k3s.doors.system import Space, Stat

_LINKS_FOLLOWED = 40


@dataclass(frozen=True)
class Entry:
    """What lies at a path. Entries are replaced, never changed."""

    kind: Literal["file", "directory", "link"]
    mode: int
    changed: float
    content: bytes = b""
    link: str = ""
    uid: int = 0
    gid: int = 0
    label: str = ""


def _nothing(_operation: str, _path: str) -> None:
    return


class MemoryFiles:
    """A tree of files. `before` is called ahead of each effect and may raise: an OSError, or the end of the process."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: dict[str, Entry] = {"/": Entry("directory", 0o755, now())}
        self.before: Callable[[str, str], None] = _nothing
        self.disk = Space(free_bytes=1 << 40, total_bytes=1 << 40, read_only=False)
        # Directories on which another file system is mounted; it is as large as the first.
        self.mounts: set[str] = set()

    def put(self, files: Mapping[str, str | bytes], *, mode: int = 0o644, changed: float | None = None) -> None:
        """Lay files there as if they had been there before."""
        for path, content in files.items():
            self._make_parents(path)
            data = content.encode() if isinstance(content, str) else content
            self._place(path, Entry("file", mode, self._now() if changed is None else changed, data))

    def put_link(self, path: str, target: str) -> None:
        """Lay a symbolic link there."""
        self._make_parents(path)
        self._place(path, Entry("link", 0o777, self._now(), link=target))

    def snapshot(self) -> dict[str, Entry]:
        """Return all that lies there, to compare with later."""
        return dict(self._entries)

    def _resolved(self, path: str, *, follow_last: bool = True) -> str | None:
        """Return the path without links on the way; None where it leads through a file, or in a circle."""
        done = "/"
        left = [part for part in path.split("/") if part]
        followed = 0
        while left:
            part = left.pop(0)
            done = posixpath.normpath(posixpath.join(done, part))
            entry = self._entries.get(done)
            if entry is not None and entry.kind == "link" and (left or follow_last):
                followed += 1
                if followed > _LINKS_FOLLOWED:
                    return None
                target = posixpath.join(posixpath.dirname(done), entry.link)
                left = [*(item for item in target.split("/") if item), *left]
                done = "/"
            elif left and (entry is None or entry.kind != "directory"):
                return None
        return done

    def _entry(self, path: str, *, follow_last: bool = True) -> Entry | None:
        resolved = self._resolved(path, follow_last=follow_last)
        return self._entries.get(resolved) if resolved is not None else None

    async def stat(self, path: str) -> Stat | None:
        """See System."""
        entry = self._entry(path, follow_last=False)
        if entry is None:
            return None
        return Stat(entry.kind, entry.mode, entry.uid, entry.gid, len(entry.content), entry.changed, entry.link)

    async def read(self, path: str, limit: int = 4 << 20) -> bytes | None:
        """See System."""
        entry = self._entry(path)
        if entry is None:
            return None
        if entry.kind == "directory":
            raise _error(errno.EISDIR, path)
        return entry.content[:limit]

    async def sha256(self, path: str) -> str | None:
        """See System."""
        data = await self.read(path, 1 << 62)
        return hashlib.sha256(data).hexdigest() if data is not None else None

    async def list_directory(self, path: str) -> tuple[str, ...]:
        """See System."""
        resolved = self._resolved(path)
        if resolved is None or resolved not in self._entries:
            return ()
        return tuple(sorted(posixpath.basename(item) for item in self._children(resolved)))

    def _children(self, directory: str) -> list[str]:
        return [item for item in self._entries if item != "/" and posixpath.dirname(item) == directory]

    async def space(self, path: str) -> Space | None:
        """See System. Every file system has the same space."""
        return self.disk if self._entry(path) is not None else None

    async def label(self, path: str) -> str:
        """See Reading."""
        entry = self._entry(path, follow_last=False)
        return entry.label if entry is not None else ""

    async def write(
        self, path: str, data: bytes, mode: int, *, owner: tuple[int, int] | None = None, label: str = ""
    ) -> None:
        """See System."""
        self.before("write", path)
        self._make_parents(path)
        uid, gid = owner or (0, 0)
        self._place(path, Entry("file", mode, self._now(), data, uid=uid, gid=gid, label=label))

    async def copy(self, source: str, target: str, sha256: str, mode: int, *, label: str = "") -> None:
        """See System."""
        data = await self.read(source, 1 << 62)
        if data is None:
            raise _error(errno.ENOENT, source)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ContractError(checksum_failure(source, found, sha256))
        self.before("copy", target)
        await self.write(target, data, mode, label=label)

    async def adopt(self, source: str, target: str, mode: int, *, label: str = "") -> None:
        """See System."""
        entry = self._entry(source, follow_last=False)
        if entry is None:
            raise _error(errno.ENOENT, source)
        self._place(source, replace(entry, mode=mode, label=label or entry.label, changed=self._now()))
        await self.rename(source, target)

    async def set_label(self, path: str, label: str) -> None:
        """See System."""
        self.before("set_label", path)
        entry = self._entry(path, follow_last=False)
        if entry is None:
            raise _error(errno.ENOENT, path)
        self._place(path, replace(entry, label=label, changed=self._now()))

    def _make_parents(self, path: str) -> None:
        parent = posixpath.dirname(path)
        entry = self._entry(parent)
        if entry is None:
            self._make_parents(parent)
            self._place(parent, Entry("directory", 0o755, self._now()))
        elif entry.kind != "directory":
            raise _error(errno.EEXIST, parent)

    def _own_path(self, path: str) -> str:
        """Return where an entry of this path lies: its folder may be behind a link."""
        parent = self._resolved(posixpath.dirname(path))
        if parent is None or parent not in self._entries:
            raise _error(errno.ENOENT, path)
        return posixpath.join(parent, posixpath.basename(path))

    def _place(self, path: str, entry: Entry) -> None:
        own = self._own_path(path)
        there = self._entries.get(own)
        if there is not None and there.kind == "directory":
            raise _error(errno.EISDIR, path)
        self._entries[own] = entry

    async def rename(self, source: str, target: str) -> None:
        """See System. A directory takes along what is in it; one that is there already and empty is replaced."""
        self.before("rename", target)
        entry = self._entry(source, follow_last=False)
        if entry is None:
            raise _error(errno.ENOENT, source)
        if self._mount_of(source) != self._mount_of(target):
            raise _error(errno.EXDEV, source)
        if entry.kind == "directory":
            self._rename_directory(source, target)
            return
        self._place(target, replace(entry, changed=self._now()))
        del self._entries[self._own_path(source)]

    def _mount_of(self, path: str) -> str:
        own = self._own_path(path)
        return max((mount for mount in self.mounts if own.startswith(f"{mount}/")), key=len, default="/")

    def _rename_directory(self, source: str, target: str) -> None:
        old, new = self._own_path(source), self._own_path(target)
        there = self._entries.get(new)
        if there is not None and there.kind != "directory":
            raise _error(errno.ENOTDIR, target)
        if any(item.startswith(f"{new}/") for item in self._entries):
            raise _error(errno.ENOTEMPTY, target)
        for item in [item for item in self._entries if item == old or item.startswith(f"{old}/")]:
            self._entries[new + item[len(old) :]] = self._entries.pop(item)

    async def link(self, target: str, path: str) -> None:
        """See System."""
        self.before("link", path)
        self._place(path, Entry("link", 0o777, self._now(), link=target))

    async def remove(self, path: str) -> None:
        """See System."""
        self.before("remove", path)
        entry = self._entry(path, follow_last=False)
        if entry is None:
            return
        own = self._own_path(path)
        if entry.kind == "directory" and self._children(own):
            raise _error(errno.ENOTEMPTY, path)
        del self._entries[own]

    async def remove_tree(self, path: str) -> None:
        """See System."""
        self.before("remove_tree", path)
        if self._entry(path, follow_last=False) is None:
            return
        own = self._own_path(path)
        for item in [item for item in self._entries if item == own or item.startswith(f"{own}/")]:
            del self._entries[item]

    async def empty_tree(self, path: str) -> None:
        """See System."""
        self.before("empty_tree", path)
        own = self._resolved(path)
        for item in [item for item in self._entries if own is not None and item.startswith(f"{own}/")]:
            del self._entries[item]

    async def make_directory(self, path: str, mode: int) -> None:
        """See System."""
        self.before("make_directory", path)
        self._make_parents(path)
        there = self._entry(path)
        if there is None:
            self._place(path, Entry("directory", mode, self._now()))
        elif there.kind != "directory":
            raise _error(errno.EEXIST, path)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
