"""The one way in which files come into being on this computer: whole, with their mode, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from productive_k3s_infra._flock import is_locked_by_us
from productive_k3s_infra.errors import BadInput, Pk3sError, StepFailed

_SUFFIX = ".part"
_ATTEMPTS = 20

# errno -> (code, what, remedy) of what the person can mend by choosing another place, or rights
_MISTAKES = {
    errno.ENOENT: ("missing", "the file or its folder does not exist", "check the path"),
    errno.EROFS: ("read-only", "the file system is read-only", "work in a writable copy"),
    errno.EACCES: (
        "permission",
        "no permission to write here",
        "run as the owner, or make this user the owner of the folder",
    ),
    errno.EPERM: (
        "permission",
        "writing here is not allowed",
        "run as the owner, or make this user the owner of the folder",
    ),
    errno.ENOTDIR: ("not-a-directory", "there is a file where a folder is needed", "move the file away"),
    errno.EEXIST: ("not-a-directory", "there is a file where a folder is needed", "move the file away"),
    errno.EISDIR: ("not-a-file", "there is a folder where a file is needed", "move the folder away"),
    errno.ELOOP: ("link", "a symbolic link in this path points to nothing", "correct the link"),
    errno.ENAMETOOLONG: ("name", "the path is too long", "use a shorter name or another folder"),
}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(path: Path, area: str) -> Iterator[None]:
    """Turn an OSError of the block into BadInput or StepFailed with a remedy; codes are `<area>.read-only` etc."""
    try:
        yield
    except OSError as error:
        raise explain(error, path, area) from error


def explain(error: OSError, path: Path, area: str) -> Pk3sError:
    """Return the error a person can use. A full disk is no mistake of the input, and so is StepFailed."""
    where = str(error.filename or path)
    if error.errno in _NO_SPACE:
        return StepFailed(
            "there is no space left",
            where=where,
            evidence=str(error.strerror),
            remedy="free some space and run pk3s again; no file was left half-written",
            code=f"{area}.no-space",
        )
    if error.errno in _MISTAKES:
        code, what, remedy = _MISTAKES[error.errno]
        return BadInput(what, where=where, evidence=str(error.strerror), remedy=remedy, code=f"{area}.{code}")
    return StepFailed(
        "the file could not be read or written",
        where=where,
        evidence=error.strerror or str(error),
        remedy="check the disk",
        code=f"{area}.io",
    )


def replace_file(path: Path, content: bytes, mode: int) -> bool:
    """Make the file hold exactly this, with this mode; say whether anything had to be written.

    Readers see the old or the new content, also after a crash. Raises OSError; see `explained`.
    """
    with suppress(FileNotFoundError):
        if not path.is_symlink() and path.read_bytes() == content:
            if path.stat().st_mode & 0o777 != mode:
                path.chmod(mode)
            return False
    with new_file(path, mode) as file:
        file.write(content)
    return True


def at_home(name: str | Path) -> Path:
    """Return the path that a name with `~` means. The home of a user whom nobody knows stays as it is written.

    Whoever opens it says that it is not there; `Path.expanduser` would raise RuntimeError.
    """
    return Path(os.path.expanduser(name))  # noqa: PTH111 - see above


@contextmanager
def new_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Give a file to write to that gets its name when the block ends well, and vanishes when it does not.

    What a killed process left of its attempt is removed by the next one for the same name.
    """
    _sweep(path)
    temporary, descriptor = _create(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _create(path: Path) -> tuple[Path, int]:
    """Create the file beside its target and lock it: the lock says that its writer lives."""
    for _attempt in range(_ATTEMPTS):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{_SUFFIX}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if is_locked_by_us(descriptor) and os.fstat(descriptor).st_nlink == 1:
            return temporary, descriptor
        os.close(descriptor)  # another process swept between the two calls, and took it for a left one
        with suppress(FileNotFoundError):
            temporary.unlink()
    raise OSError(errno.EBUSY, "other processes remove each new file", str(path))


def _sweep(path: Path) -> None:
    prefix = f".{path.name}."
    with os.scandir(path.parent) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)]
    for name in left:
        with suppress(OSError):
            descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if is_locked_by_us(descriptor):
                    Path(name).unlink()
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot sync a folder; the content itself is safe already.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
