"""What this computer keeps of releases: checksum files, files to push, and the digests of big files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import platformdirs

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.errors import BadInput

_AREA = "cache"
_CHUNK_BYTES = 1 << 20
# A file changed again within the clock's grain would keep its mtime: what is that young is not remembered.
_SETTLED_NS = 2_000_000_000
_MOST_DIGESTS = 1000

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes done and, where known, all of them. What it raises ends the work."""


def default_cache() -> Path:
    """Return where this system keeps caches of this user: `$XDG_CACHE_HOME` or `~/.cache`, on macOS `~/Library/Caches`.

    Raises BadInput where there is no such place.
    """
    try:
        path = platformdirs.user_cache_path("productive-k3s", appauthor=False)
    except RuntimeError:
        path = Path()
    if path.is_absolute():
        return path
    raise BadInput(
        "there is no folder for the cache of K3s releases",
        where="HOME",
        evidence=os.environ.get("HOME", "") or "not set",
        remedy="set XDG_CACHE_HOME or HOME to an absolute path",
        code="cache.home",
    )


@dataclass(frozen=True)
class ReleaseCache:
    """The cache under `root`. All of it may be removed at any time; nothing but time is lost.

    Failing to keep something that only saves time is no error: a read-only cache works, slower.
    """

    root: Path

    def checksums(self, base: str, name: str) -> str | None:
        """Return the kept checksum file of `<base>/<name>`; a version's files do not change once published."""
        with suppress(OSError, UnicodeDecodeError):
            return self._checksum_path(base, name).read_text(encoding="utf-8")
        return None

    def keep_checksums(self, base: str, name: str, text: str) -> None:
        """Keep a checksum file that was looked at."""
        path = self._checksum_path(base, name)
        with suppress(OSError):
            self._make(path.parent)
            replace_file(path, text.encode(), 0o644)

    def place(self, sha256: str, name: str) -> Path:
        """Return where a file with this digest is kept; its folder is there afterwards."""
        path = self.root / "files" / sha256 / name
        with explained(path, _AREA):
            self._make(path.parent)
        return path

    def has(self, path: Path, sha256: str) -> bool:
        """Say whether the kept file is there and whole."""
        with explained(path, _AREA):
            return path.is_file() and self.digest(path) == sha256

    def digest(self, path: Path, on_bytes: OnBytes = lambda _done, _total: None) -> str:
        """Return the file's sha256, from memory while its size and mtime are the same. Raises OSError."""
        before = path.stat()
        known = self._digests().get(str(path.absolute()))
        if known is not None and known[:2] == (before.st_size, before.st_mtime_ns):
            return known[2]
        digest = _hash(path, before.st_size, on_bytes)
        after = path.stat()
        settled = time.time_ns() - after.st_mtime_ns > _SETTLED_NS
        if settled and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            self.remember(path, digest, after)
        return digest

    def remember(self, path: Path, sha256: str, status: os.stat_result) -> None:
        """Keep a digest. Of two processes that do it at once one may be forgotten, which costs a second look."""
        digests = self._digests()
        digests.pop(str(path.absolute()), None)
        digests[str(path.absolute())] = (status.st_size, status.st_mtime_ns, sha256)
        newest = dict(list(digests.items())[-_MOST_DIGESTS:])
        with suppress(OSError):
            self._make(self.root)
            replace_file(self._digest_file, json.dumps(newest).encode(), 0o600)

    @property
    def _digest_file(self) -> Path:
        return self.root / "digests.json"

    def _digests(self) -> dict[str, tuple[int, int, str]]:
        try:
            found = json.loads(self._digest_file.read_bytes())
            return {path: (int(size), int(mtime), str(digest)) for path, (size, mtime, digest) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _checksum_path(self, base: str, name: str) -> Path:
        source, _, version = base.rpartition("/")
        return self.root / "checksums" / hashlib.sha256(source.encode()).hexdigest()[:16] / quote(version, "%") / name

    def _make(self, folder: Path) -> None:
        # The folder above may be ~/.cache, whose mode is the person's own affair.
        if not self.root.is_dir():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)


def _hash(path: Path, total: int, on_bytes: OnBytes) -> str:
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            on_bytes(done, total)
    return digest.hexdigest()
