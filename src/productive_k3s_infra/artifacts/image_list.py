"""The names of the images that belong to a K3s release: its asset k3s-images.txt."""

from __future__ import annotations

from pathlib import Path

from productive_k3s.k3s.release import RELEASES, version_url
from productive_k3s_infra._files import at_home
from productive_k3s_infra.artifacts.cache import ReleaseCache
from productive_k3s_infra.artifacts.download import fetch_text
from productive_k3s_infra.errors import Pk3sError

_NAME = "k3s-images.txt"


def image_list(source: str, version: str, cache: Path) -> tuple[str, ...]:
    """Return the images that a release names; () where it publishes no list, or it cannot be had now.

    `source` is that of the cluster file: `release`, a mirror's URL or a directory. The list is asked for once for each
    version and place, and trusted as far as the checksum file of that place is. Nothing is raised: nodes usually have
    an image, and without any the validation says so.
    """
    if source != "release" and "://" not in source:
        try:
            return _names((at_home(source) / version / _NAME).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return ()
    base, kept = version_url(RELEASES if source == "release" else source, version), ReleaseCache(cache)
    text = kept.checksums(base, _NAME)
    if text is None:
        try:
            text = fetch_text(f"{base}/{_NAME}")
        except Pk3sError:
            return ()
        kept.keep_checksums(base, _NAME, text)
    return _names(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
