"""Find the files of a K3s release: on GitHub or a mirror shaped like it, or in a directory of this host.

Asset names: k3s-io/k3s releases. The binary of 32-bit ARM is `k3s-armhf`, its checksums are `sha256sum-arm.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple
from urllib.parse import quote

from productive_k3s.failure import ContractError, Failure
from productive_k3s.host import Host
from productive_k3s.request import Artifact

# Used where nobody names a version; a newer program has a newer one, and a host that runs another keeps it.
DEFAULT_VERSION = "v1.34.4+k3s1"
RELEASES = "https://github.com/k3s-io/k3s/releases/download"

_BINARIES = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}
_MACHINES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
}
_IMAGE_SUFFIXES = (".tar.zst", ".tar.gz", ".tar")  # the smallest first
_SECONDS = 30.0


@dataclass(frozen=True)
class Release:
    """A version and its files for this host."""

    version: str
    binary: Artifact
    images: Tuple[Artifact, ...]


def _failure(code: str, what: str, evidence: str, remedy: str) -> ContractError:
    return ContractError(Failure(f"artifact.{code}", what, evidence, remedy, 2))


def binary_name(arch: str) -> str:
    """PURE: return the asset of the binary. Raises ContractError for an architecture that K3s has no release for."""
    if arch not in _BINARIES:
        raise _failure("architecture", "K3s has no release for this architecture", arch, "amd64, arm64 and arm have")
    return _BINARIES[arch]


def checksum_file_name(arch: str) -> str:
    """PURE: return the asset that holds the digests of the binary and of the images."""
    return f"sha256sum-{arch}.txt"


def image_names(arch: str) -> Tuple[str, ...]:
    """PURE: return the assets of the air-gap images, the best first; they hold the same in different packing."""
    return tuple(f"k3s-airgap-images-{arch}{suffix}" for suffix in _IMAGE_SUFFIXES)


def version_url(source: str, version: str) -> str:
    """PURE: return where a version's assets lie under a source shaped like GitHub's; `+` is written as %2B."""
    return f"{source.rstrip('/')}/{quote(version, safe='')}"


async def resolve(host: Host, machine: str, version: Optional[str], source: Optional[str]) -> Release:
    """Return where the release lies and what its files must be; images only from a directory, which has no registry."""
    arch = _MACHINES.get(machine)
    if arch is None:
        raise _failure("architecture", "K3s has no release for this machine", machine, "amd64, arm64 and arm have")
    if source is not None and "://" not in source:
        return await _from_directory(host, arch, version, source.rstrip("/"))
    wanted = version or DEFAULT_VERSION
    base = version_url(source or RELEASES, wanted)
    url = f"{base}/{checksum_file_name(arch)}"
    answer = await host.system.get(url, ca=b"", timeout=_SECONDS)
    if answer.status != 200:
        raise _failure("missing", f"there is no release {wanted} at {base}", f"{url}: {answer.status}", "see --version")
    sums = parse_checksums(answer.body.decode(errors="replace"))
    name = _BINARIES[arch]
    return Release(wanted, Artifact(name, _sum(sums, name, url), f"{base}/{name}"), ())


async def _from_directory(host: Host, arch: str, version: Optional[str], directory: str) -> Release:
    found = version or await _only_version(host, directory)
    base = f"{directory}/{found}"
    path = f"{base}/{checksum_file_name(arch)}"
    text = await host.system.read(path)
    if text is None:
        raise _failure(
            "missing", f"{path} is not there", directory, "a directory holds <version>/{k3s,sha256sum-*.txt}"
        )
    sums = parse_checksums(text.decode(errors="replace"))
    name = _BINARIES[arch]
    binary = Artifact(name, _sum(sums, name, path), f"file://{base}/{name}")
    for image in image_names(arch):
        if image in sums and await host.system.stat(f"{base}/{image}") is not None:
            return Release(found, binary, (Artifact(image, sums[image], f"file://{base}/{image}"),))
    return Release(found, binary, ())


async def _only_version(host: Host, directory: str) -> str:
    if await host.system.stat(directory) is None:
        raise _failure("missing", f"{directory} is not there", directory, "name a directory that holds <version>/...")
    names = [name for name in await host.system.list_directory(directory) if name.startswith("v")]
    if len(names) != 1:
        raise _failure(
            "version", f"{directory} holds {len(names)} versions", ", ".join(sorted(names)) or "none", "say --version"
        )
    return names[0]


def parse_checksums(text: str) -> Dict[str, str]:
    """PURE: return the digests of a release's checksum file by file name (the format of sha256sum)."""
    found: Dict[str, str] = {}
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if len(digest) == 64:
            found[name.strip().lstrip("*").rpartition("/")[2]] = digest.lower()
    return found


def _sum(sums: Dict[str, str], name: str, where: str) -> str:
    if name not in sums:
        raise _failure("checksum", f"{where} does not name {name}", ", ".join(sorted(sums)), "see the release")
    return sums[name]
