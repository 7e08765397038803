"""What was collected, what is missing, and the one file that has it."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from productive_k3s import __version__
from productive_k3s.contract.redaction import redact
from productive_k3s_infra._files import explained, new_file
from productive_k3s_infra.errors import BadInput, Pk3sError
from productive_k3s_infra.support import texts

AREA = "support"
SUFFIX = ".tar.gz"
_NEVER = "kubeconfig, private keys, known_hosts, join tokens, OpenTofu's state"


@dataclass
class Collection:
    """What was collected so far: name to text and to what it is; `secrets` are taken out of all of it."""

    secrets: frozenset[str]
    texts: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, text: str, about: str) -> None:
        """Add a text whose secrets were taken out."""
        self.texts[name], self.about[name] = text, about

    def add_document(self, name: str, value: Any, about: str) -> None:
        """Add a value as JSON."""
        self.add(name, texts.document(value, self.secrets), about)

    def lack(self, what: str, error: Pk3sError) -> None:
        """Note what could not be had."""
        self.missing.append(redact(f"{what}: {error.what} [{error.code}] {error.evidence}".strip(), self.secrets))


def require_archive(output: Path) -> Path:
    """Return the path of a bundle as it was given; raises BadInput where its name is not that of an archive."""
    if output.name.endswith(SUFFIX):
        return output
    raise BadInput(
        "a bundle is a compressed archive",
        where=str(output),
        evidence=f"its name does not end with {SUFFIX}",
        remedy=f"-o {output.name}{SUFFIX}; a file of that name is replaced",
        code="support.no-archive",
    )


def write_bundle(path: Path, cluster: str, found: Collection) -> None:
    """Write what was collected as one file that only this user can read, with a MANIFEST of it."""
    with explained(path, AREA):
        _write(path, f"{cluster}-support", {"MANIFEST": _manifest(cluster, found), **found.texts})


def _manifest(cluster: str, found: Collection) -> str:
    width = max((len(name) for name in found.about), default=0)
    lines = [
        f"Support bundle of the cluster {cluster}",
        f"made {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC by pk3s {__version__}",
        "",
        "Inside:",
        *(f"  {name.ljust(width)}  {about}" for name, about in sorted(found.about.items())),
        "",
        f"Never inside: {_NEVER}.",
        "Secrets were removed on the hosts and here: [redacted] and *** stand for them.",
        "Names, addresses and labels are inside: read it before you give it away.",
    ]
    if found.missing:
        lines += ["", "Missing:", *(f"  {item}" for item in found.missing)]
    return "\n".join(lines) + "\n"


def _write(path: Path, folder: str, texts: Mapping[str, str]) -> None:
    """Write the archive: sorted names below one folder, owned by nobody in particular."""
    with new_file(path, 0o600) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in sorted(texts):
            data = texts[name].encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
