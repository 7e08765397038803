"""Root file systems of further systems for machines: Debian 13, Ubuntu 22.04 and 24.04.

Ubuntu 26.04 is not among them: its systemd is newer than 257 and starts on control groups of version 2 only.
"""

from __future__ import annotations

import hashlib
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

from productive_k3s_infra.providers.local.image import Recipe, ensure_image

SUITES = {"trixie": "Debian GNU/Linux 13", "jammy": "Ubuntu 22.04", "noble": "Ubuntu 24.04"}
_UBUNTU = "http://archive.ubuntu.com/ubuntu"
# The package of 24.04 as it was released; its signatures are checked with what is in it.
_KEYS = f"{_UBUNTU}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
_KEYS_SHA256 = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"
_KEYRING = Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
# systemd 257 starts on control groups of version 1 only if it is told to; older ones pass over the word.
_INIT = """\
#!/bin/sh
exec /usr/lib/systemd/systemd SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 "$@"
"""


def image_of(suite: str, folder: Path) -> Path:
    """Return the image of a suite, built first if it is not there; `folder` is for what that needs on the way."""
    usual = Recipe(suite=suite)
    recipe = replace(usual, files=(*usual.files, ("usr/sbin/init", 0o755, _INIT)))
    mirror = None if suite == "trixie" else f"deb [signed-by={_keyring(folder)}] {_UBUNTU} {suite} main universe"
    return ensure_image(recipe=recipe, mirror=mirror)


def _keyring(folder: Path) -> Path:
    if _KEYRING.exists():
        return _KEYRING
    with urllib.request.urlopen(_KEYS, timeout=60) as answer:
        content: bytes = answer.read()
    assert hashlib.sha256(content).hexdigest() == _KEYS_SHA256, f"{_KEYS} is not what it was"
    package = folder / "ubuntu-keyring.deb"
    package.write_bytes(content)
    subprocess.run(("dpkg-deb", "--extract", package, folder / "keyring"), check=True)
    return folder / "keyring" / _KEYRING.relative_to("/")
