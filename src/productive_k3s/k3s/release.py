"""PURE: the files of a K3s release, as GitHub or a mirror shaped like it names them.

Asset names: k3s-io/k3s releases. The binary of 32-bit ARM is `k3s-armhf`, its checksums are `sha256sum-arm.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple
from urllib.parse import quote

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.contract.request import Artifact

# Used where nobody names a version; a newer program has a newer one, and a host that runs another keeps it.
DEFAULT_VERSION = "v1.36.4+k3s1"
DEFAULT_MINOR = DEFAULT_VERSION.rpartition(".")[0]
RELEASES = "https://github.com/k3s-io/k3s/releases/download"

BINARIES = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}
# The word in a release asset's name for what `uname -m` says (k3s-io/k3s, install.sh: every arm* is arm).
MACHINES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "armv8l": "arm",
}
_IMAGE_SUFFIXES = (".tar.zst", ".tar.gz", ".tar")  # the smallest first


@dataclass(frozen=True)
class Release:
    """A version and its files for this host."""

    version: str
    binary: Artifact
    images: Tuple[Artifact, ...]


def bad_release(code: str, what: str, evidence: str, remedy: str) -> ContractError:
    """PURE: return what is wrong with a release, as bad input."""
    return ContractError(Failure(f"artifact.{code}", what, evidence, remedy, 2))


def binary_name(arch: str) -> str:
    """PURE: return the asset of the binary. Raises ContractError for an architecture that K3s has no release for."""
    if arch not in BINARIES:
        raise bad_release(
            "architecture",
            "K3s has no release for this architecture",
            arch,
            "there are releases for amd64, arm64 and arm",
        )
    return BINARIES[arch]


def checksum_file_name(arch: str) -> str:
    """PURE: return the asset that holds the digests of the binary and of the images."""
    return f"sha256sum-{arch}.txt"


def image_names(arch: str) -> Tuple[str, ...]:
    """PURE: return the assets of the air-gap images, the best first; they hold the same in different packing."""
    return tuple(f"k3s-airgap-images-{arch}{suffix}" for suffix in _IMAGE_SUFFIXES)


def version_url(source: str, version: str) -> str:
    """PURE: return where a version's assets lie under a source shaped like GitHub's; `+` is written as %2B."""
    return f"{source.rstrip('/')}/{quote(version, safe='')}"


def parse_checksums(text: str) -> Dict[str, str]:
    """PURE: return the digests of a release's checksum file by file name (the format of sha256sum)."""
    found: Dict[str, str] = {}
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if len(digest) == 64:
            found[name.strip().lstrip("*").rpartition("/")[2]] = digest.lower()
    return found
