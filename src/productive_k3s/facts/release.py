"""Find a K3s release: on GitHub or a mirror shaped like it, or in a directory of this host."""

from __future__ import annotations

from typing import Dict, Optional

from productive_k3s.contract.request import Artifact
from productive_k3s.doors.host import ReadingHost
from productive_k3s.k3s.release import (
    BINARIES,
    DEFAULT_VERSION,
    MACHINES,
    RELEASES,
    Release,
    bad_release,
    checksum_file_name,
    image_names,
    parse_checksums,
    version_url,
)

_SECONDS = 30.0


async def resolve(host: ReadingHost, machine: str, version: Optional[str], source: Optional[str]) -> Release:
    """Return where the release lies and what its files must be; images only from a directory, which has no registry."""
    arch = MACHINES.get(machine)
    if arch is None:
        raise bad_release(
            "architecture",
            "K3s has no release for this machine",
            machine,
            "there are releases for amd64, arm64 and arm",
        )
    if source is not None and "://" not in source:
        return await _from_directory(host, arch, version, source.rstrip("/"))
    wanted = version or DEFAULT_VERSION
    base = version_url(source or RELEASES, wanted)
    url = f"{base}/{checksum_file_name(arch)}"
    answer = await host.system.get(url, ca=b"", timeout=_SECONDS)
    if answer.status != 200:
        raise bad_release(
            "missing", f"there is no release {wanted} at {base}", f"{url}: {answer.status}", "check --version"
        )
    sums = parse_checksums(answer.body.decode(errors="replace"))
    name = BINARIES[arch]
    return Release(wanted, Artifact(name, _sum(sums, name, url), f"{base}/{name}"), ())


async def _from_directory(host: ReadingHost, arch: str, version: Optional[str], directory: str) -> Release:
    found = version or await _only_version(host, directory)
    base = f"{directory}/{found}"
    path = f"{base}/{checksum_file_name(arch)}"
    text = await host.system.read(path)
    if text is None:
        raise bad_release(
            "missing", f"{path} is not there", directory, "a directory holds <version>/{k3s,sha256sum-*.txt}"
        )
    sums = parse_checksums(text.decode(errors="replace"))
    name = BINARIES[arch]
    binary = Artifact(name, _sum(sums, name, path), f"file://{base}/{name}")
    for image in image_names(arch):
        if image in sums and await host.system.stat(f"{base}/{image}") is not None:
            return Release(found, binary, (Artifact(image, sums[image], f"file://{base}/{image}"),))
    return Release(found, binary, ())


async def _only_version(host: ReadingHost, directory: str) -> str:
    if await host.system.stat(directory) is None:
        raise bad_release(
            "missing", f"{directory} is not there", directory, "name a directory that holds <version>/..."
        )
    names = [name for name in await host.system.list_directory(directory) if name.startswith("v")]
    if len(names) != 1:
        raise bad_release(
            "version", f"{directory} holds {len(names)} versions", ", ".join(sorted(names)) or "none", "use --version"
        )
    return names[0]


def _sum(sums: Dict[str, str], name: str, where: str) -> str:
    if name not in sums:
        raise bad_release("checksum", f"{where} does not list {name}", ", ".join(sorted(sums)), "check the release")
    return sums[name]
