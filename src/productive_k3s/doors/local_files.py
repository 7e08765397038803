"""The real door to files. Whole files appear by rename, so a kill leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import select
import stat as modes
import time
from typing import BinaryIO, Dict, Iterator, List, Optional, Tuple

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.pace import LOOK_SECONDS, GoingOn, Pace, nothing_ends_it
from productive_k3s.doors.system import Space, Stat

_CHUNK_BYTES = 1 << 20
_READ_BYTES = 1 << 16
_LOCK_POLL_SECONDS = 0.2
# Before the average speed of what is staged counts: several hosts may share one line.
_GRACE_SECONDS = 600.0
# Where SELinux keeps a file's label (selinux(8)).
_LABEL = "security.selinux"
_KINDS = {modes.S_IFREG: "file", modes.S_IFDIR: "directory", modes.S_IFLNK: "link"}


def checksum_failure(where: str, found: str, expected: str) -> Failure:
    """Return the failure of an artefact that is not what it shall be."""
    return Failure(
        "artifact.checksum",
        "an artifact does not match the release's checksum",
        f"{where}: sha256 is {found}, expected {expected}",
        "fetch it again; if that does not help, something changes it on the way",
    )


def what_came(path: str, come: int, size: Optional[int]) -> str:
    """Return how much of a file came, in words."""
    return f"{path}: {come} bytes arrived" if size in (None, come) else f"{path}: {come} of {size} bytes arrived"


class LocalFiles:
    """Files of this host."""

    def __init__(self) -> None:
        self._locks: List[int] = []
        self._digests: Dict[Tuple[int, int, int, int], str] = {}

    async def stat(self, path: str) -> Optional[Stat]:
        """See System."""
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = _KINDS.get(modes.S_IFMT(found.st_mode), "other")
        return Stat(
            kind=kind,  # type: ignore[arg-type]
            mode=modes.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            size=found.st_size,
            changed=found.st_ctime,
            link=os.readlink(path) if kind == "link" else "",
        )

    async def read(self, path: str, limit: int = 4 << 20) -> Optional[bytes]:
        """See System. A process that ends while its files in /proc are read is a file that is not there."""
        try:
            with open(path, "rb", buffering=0) as file:
                return b"".join(_chunks(file, limit))
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return None

    async def sha256(self, path: str) -> Optional[str]:
        """See System."""
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                # A K3s binary is moved into place and looked at again: the same file has the same digest in one run.
                key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
                if key not in self._digests:
                    self._digests[key] = _digest(file)
                return self._digests[key]
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def list_directory(self, path: str) -> Tuple[str, ...]:
        """See System."""
        try:
            return tuple(sorted(os.listdir(path)))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    async def space(self, path: str) -> Optional[Space]:
        """See System."""
        try:
            found = os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        read_only = bool(found.f_flag & os.ST_RDONLY)
        return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, read_only)

    async def label(self, path: str) -> str:
        """See Reading."""
        try:
            found = os.getxattr(path, _LABEL, follow_symlinks=False)
        except OSError:
            # Not there, or a file system without labels.
            return ""
        return found.rstrip(b"\0").decode(errors="replace")

    async def write(
        self, path: str, data: bytes, mode: int, *, owner: Optional[Tuple[int, int]] = None, label: str = ""
    ) -> None:
        """See System."""
        with replacing(path, mode, owner=owner, label=label) as file:
            file.write(data)

    async def copy(self, source: str, target: str, sha256: str, mode: int, *, label: str = "") -> None:
        """See System."""
        digest = hashlib.sha256()
        with open(source, "rb") as there, replacing(target, mode, label=label) as file:
            while True:
                chunk = there.read(_CHUNK_BYTES)
                if not chunk:
                    break
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ContractError(checksum_failure(source, digest.hexdigest(), sha256))

    async def adopt(self, source: str, target: str, mode: int, *, label: str = "") -> None:
        """See System."""
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _dress(descriptor, mode, None, label)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        await self.rename(source, target)

    async def set_label(self, path: str, label: str) -> None:
        """See System."""
        os.setxattr(path, _LABEL, label.encode(), follow_symlinks=False)

    async def rename(self, source: str, target: str) -> None:
        """See System."""
        os.rename(source, target)
        _sync_directory(os.path.dirname(target))

    async def link(self, target: str, path: str) -> None:
        """See System."""
        temporary = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, path)
        _sync_directory(os.path.dirname(path))

    async def remove(self, path: str) -> None:
        """See System."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            if not os.path.isdir(path):
                raise
            os.rmdir(path)

    async def remove_tree(self, path: str) -> None:
        """See System."""
        if not os.path.lexists(path):
            return
        if os.path.islink(path) or not os.path.isdir(path):
            os.unlink(path)
            return
        _remove_tree(path, os.lstat(path).st_dev)

    async def empty_tree(self, path: str) -> None:
        """See System."""
        if os.path.isdir(path):
            _empty_tree(path, os.stat(path).st_dev)

    async def make_directory(self, path: str, mode: int) -> None:
        """See System."""
        make_parents(path)
        if not os.path.isdir(path):
            os.mkdir(path)
            os.chmod(path, mode)

    async def receive(
        self, path: str, sha256: str, mode: int, size: Optional[int] = None, *, going_on: GoingOn = nothing_ends_it
    ) -> int:
        """See System. Standard input is read from its descriptor: nothing else of this program buffers it."""
        come = 0
        digest = hashlib.sha256()
        with replacing(path, mode) as file:
            for chunk in _standard_input(size, Pace(path, _GRACE_SECONDS, going_on)):
                come += len(chunk)
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ContractError(checksum_failure(what_came(path, come, size), digest.hexdigest(), sha256))
        return come

    async def skip(self, size: int, *, going_on: GoingOn = nothing_ends_it) -> None:
        """See System."""
        for _ in _standard_input(size, Pace("what is here already", _GRACE_SECONDS, going_on)):
            pass

    async def lock(self, path: str, wait: float) -> Optional[str]:
        """See System. The lock ends with the process, however that ends; the file says who holds it."""
        limit = time.monotonic() + wait
        while True:
            _make_private(os.path.dirname(path))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if _locked(descriptor, path):
                break
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if time.monotonic() >= limit:
                return holder or "another process"
            time.sleep(_LOCK_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _who().encode(), 0)
        self._locks.append(descriptor)
        return None


def _make_private(folder: str) -> None:
    """Make a folder of this user alone, or take one that nobody else may write in."""
    make_parents(folder)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if found.st_uid == 0 != os.geteuid():
        # It is as it shall be; this user is not who it shall be.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
    if not modes.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ContractError(
            Failure(
                "host.unsafe-directory",
                f"other users have access to {folder}, and could stop or misuse this program there",
                f"mode {modes.filemode(found.st_mode)}, user {found.st_uid}",
                f"find out who created it (ls -ld {folder}), then remove it",
            )
        )
    if found.st_mode & 0o077:
        os.chmod(folder, 0o700)


def _locked(descriptor: int, path: str) -> bool:
    """Lock the file if it still is the one at the path: an uninstallation takes its folder away."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there = os.lstat(path)
    except (BlockingIOError, FileNotFoundError):
        return False
    own = os.fstat(descriptor)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _who() -> str:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    user = os.environ.get("SUDO_USER") or str(os.getuid())
    return f"process {os.getpid()} of {user} since {started}\n"


@contextlib.contextmanager
def replacing(path: str, mode: int, *, owner: Optional[Tuple[int, int]] = None, label: str = "") -> Iterator[BinaryIO]:
    """Give a temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    make_parents(path)
    temporary = f"{path}.partial"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            _dress(file.fileno(), mode, owner, label)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            # A write does not say where; whoever makes room must know.
            error.filename = path
        raise
    _sync_directory(os.path.dirname(path))


def _dress(descriptor: int, mode: int, owner: Optional[Tuple[int, int]], label: str) -> None:
    """Give a file all that it shall have before it gets its name: a kill after that leaves nothing to put right."""
    if owner is not None:
        os.fchown(descriptor, *owner)
    os.fchmod(descriptor, mode)
    if label:
        os.setxattr(descriptor, _LABEL, label.encode())


def make_parents(path: str) -> None:
    """Make the directories above `path`, readable by all as /etc and /usr are, whatever the umask."""
    parent = os.path.dirname(path)
    if not parent or os.path.isdir(parent):
        return
    make_parents(parent)
    os.mkdir(parent)
    os.chmod(parent, 0o755)  # noqa: S103 - as /etc and /usr are


def _sync_directory(path: str) -> None:
    descriptor = os.open(path or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _chunks(file: io.FileIO, limit: int) -> Iterator[bytes]:
    # /proc/sys refuses with ENOMEM a read that asks for 4 MB at once.
    while limit > 0:
        chunk = file.read(min(limit, _READ_BYTES))
        if not chunk:
            return
        limit -= len(chunk)
        yield chunk


def _standard_input(size: Optional[int], pace: Pace) -> Iterator[bytes]:
    while size is None or size > 0:
        # A read would hear no signal until something comes.
        if not select.select([0], [], [], LOOK_SECONDS)[0]:
            pace.look()
            continue
        chunk = os.read(0, _CHUNK_BYTES if size is None else min(size, _CHUNK_BYTES))
        if not chunk:
            return
        if size is not None:
            size -= len(chunk)
        pace.came(len(chunk))
        yield chunk


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while True:
        chunk = file.read(_CHUNK_BYTES)
        if not chunk:
            return digest.hexdigest()
        digest.update(chunk)


def _remove_tree(path: str, device: int) -> bool:
    """Remove what is in `path` and then itself, never what is mounted in it; whether it is gone."""
    if _empty_tree(path, device) and not os.path.ismount(path):
        os.rmdir(path)
        return True
    return False


def _empty_tree(path: str, device: int) -> bool:
    empty = True
    with os.scandir(path) as entries:
        found = list(entries)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif entry.stat(follow_symlinks=False).st_dev != device or os.path.ismount(entry.path):
            empty = False
        else:
            empty = _remove_tree(entry.path, device) and empty
    return empty
