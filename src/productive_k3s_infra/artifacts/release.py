"""Find a K3s release's files for the plan: what each host shall have, and where it gets it from."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.request import Artifact
from productive_k3s.k3s.release import (
    DEFAULT_VERSION,
    RELEASES,
    binary_name,
    checksum_file_name,
    image_names,
    parse_checksums,
    version_url,
)
from productive_k3s_infra._files import at_home, explained
from productive_k3s_infra.artifacts.cache import OnBytes, ReleaseCache
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.plan.model import ReleaseFiles

_AREA = "artifact"
_MEGABYTE = 1_000_000
_LEAST_STEP_BYTES = 8 * _MEGABYTE
_SHAPE = "a source holds <version>/{k3s,sha256sum-<arch>.txt,k3s-airgap-images-<arch>.tar}"


OnProgress = Callable[[str], None]
"""Called with a line such as `fetching k3s: 40 of 67 MB`. May raise to end the work; nothing half-done stays."""


@dataclass(frozen=True)
class Resolved:
    """The files by architecture (`amd64`), and the local ones by digest: those this computer pushes."""

    files: Mapping[str, ReleaseFiles] = field(default_factory=dict)
    local_files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class _Search:
    version: str
    cache: ReleaseCache
    on_progress: OnProgress


def resolve_release(
    source: str,
    version: str,
    arches: frozenset[str],
    *,
    delivery: str,
    cache: Path,
    on_progress: OnProgress = lambda _line: None,
) -> Resolved:
    """Return what hosts of these architectures need, every digest from the release's own checksum file.

    `source` is `release`, a mirror's URL or a directory (a relative one is taken from the working folder); `delivery`
    is `auto`, `pull` or `push`. Files of a mirror that are pushed come into the cache, the images too, because hosts
    that cannot pull have no registry either. With an unchanged, known version it uses no network and reads no big file.
    Raises BadInput or StepFailed with `artifact.missing`, `.checksum`, `.unreachable`, `.version`, `.source`,
    `.delivery` or `.architecture`.
    """
    if delivery not in {"auto", "pull", "push"}:
        raise _mistake(
            "delivery", "delivery is auto, pull or push", "spec.k3s.artifacts.delivery", delivery, "use auto"
        )
    _require_version(version)
    search = _Search(version, ReleaseCache(cache), on_progress)
    if source != "release" and "://" not in source:
        if delivery == "pull":
            raise _mistake(
                "delivery",
                "hosts cannot pull from a directory of this computer",
                "spec.k3s.artifacts",
                source,
                "use delivery: push, or serve the directory over HTTP and name its URL",
            )
        folder = _version_folder(at_home(source), version)
        return _merged(_from_directory(search, folder, arch) for arch in sorted(arches))
    base = version_url(RELEASES if source == "release" else _require_url(source), version)
    find = _pushed if delivery == "push" else _pulled
    return _merged(find(search, base, arch) for arch in sorted(arches))


def _pulled(search: _Search, base: str, arch: str) -> Resolved:
    name, sums = _published_sums(search, base, arch)
    binary = Artifact(name, sums[name], f"{base}/{name}")
    return Resolved({arch: ReleaseFiles(search.version, arch, binary)})


def _pushed(search: _Search, base: str, arch: str) -> Resolved:
    name, sums = _published_sums(search, base, arch)
    image = next((image for image in image_names(arch) if image in sums), None)
    artifacts = tuple(Artifact(item, sums[item]) for item in (name, image) if item is not None)
    local = {artifact.sha256: _fetched(search, base, artifact) for artifact in artifacts}
    return Resolved({arch: ReleaseFiles(search.version, arch, artifacts[0], artifacts[1:], pushed=True)}, local)


def _fetched(search: _Search, base: str, artifact: Artifact) -> Path:
    path = search.cache.place(artifact.sha256, artifact.name)
    if not search.cache.has(path, artifact.sha256):
        from productive_k3s_infra.artifacts.download import download  # HTTP is loaded where something is fetched

        download(f"{base}/{artifact.name}", artifact.sha256, path, _reporter(search, "fetching", artifact.name))
        with explained(path, _AREA):
            search.cache.remember(path, artifact.sha256, path.stat())
    return path


def _published_sums(search: _Search, base: str, arch: str) -> tuple[str, dict[str, str]]:
    """Return the binary's name and all digests; asks the network only for a version that is not known yet."""
    name, file_name = _binary(arch), checksum_file_name(arch)
    kept = search.cache.checksums(base, file_name)
    if kept is not None and name in (sums := parse_checksums(kept)):
        return name, sums
    from productive_k3s_infra.artifacts.download import fetch_text

    text = fetch_text(f"{base}/{file_name}")
    sums = _require_named(parse_checksums(text), name, f"{base}/{file_name}")
    search.cache.keep_checksums(base, file_name, text)
    return name, sums


def _from_directory(search: _Search, folder: Path, arch: str) -> Resolved:
    name, sums_path = _binary(arch), folder / checksum_file_name(arch)
    with explained(sums_path, _AREA):
        if not sums_path.is_file():
            raise _mistake("missing", f"there is no checksum file for {arch}", sums_path, _listing(folder), _SHAPE)
        text = sums_path.read_text(encoding="utf-8", errors="replace")
    sums = _require_named(parse_checksums(text), name, str(sums_path))
    if not (folder / name).is_file():
        raise _mistake("missing", f"there is no binary for {arch}", folder / name, _listing(folder), _SHAPE)
    names = [name, *_images_in(folder, arch, sums)]
    artifacts = tuple(Artifact(item, sums[item]) for item in names)
    for artifact in artifacts:
        _require_digest(search, folder / artifact.name, artifact.sha256, sums_path)
    local = {artifact.sha256: (folder / artifact.name).absolute() for artifact in artifacts}
    return Resolved({arch: ReleaseFiles(search.version, arch, artifacts[0], artifacts[1:], pushed=True)}, local)


def _images_in(folder: Path, arch: str, sums: Mapping[str, str]) -> tuple[str, ...]:
    """Return the one packing of the images that is there and named by the checksum file; a stranger is a mistake."""
    there = [image for image in image_names(arch) if (folder / image).is_file()]
    named = [image for image in there if image in sums]
    if there and not named:
        _require_named(sums, there[0], str(folder / checksum_file_name(arch)))
    return tuple(named[:1])


def _require_digest(search: _Search, path: Path, expected: str, sums_path: Path) -> None:
    with explained(path, _AREA):
        found = search.cache.digest(path, _reporter(search, "verifying", path.name))
    if found != expected:
        raise _mistake(
            "checksum",
            f"{path.name} does not match its checksum file",
            path,
            f"sha256 {found}, {sums_path.name} says {expected}",
            "copy the release again; if you built it yourself, write the checksum file again",
        )


def _version_folder(directory: Path, version: str) -> Path:
    with explained(directory, _AREA):
        if not directory.is_dir():
            raise _mistake("missing", "the directory of K3s releases does not exist", directory, "", _SHAPE)
        folder = directory / version
        if folder.is_dir():
            return folder
        held = sorted(item.name for item in directory.iterdir() if item.is_dir() and item.name.startswith("v"))
    raise _mistake(
        "version",
        f"the directory does not hold {version}",
        directory,
        f"it has {', '.join(held)}" if held else "it has no version",
        f"set spec.k3s.version to one of them, or copy that release; {_SHAPE}",
    )


def _require_version(version: str) -> None:
    # It becomes a part of paths and URLs.
    if not version.startswith("v") or "/" in version or version != version.strip() or not version.isprintable():
        raise _mistake(
            "version",
            "this is not a K3s version",
            "spec.k3s.version",
            version[:80],
            f"write it such as {DEFAULT_VERSION}",
        )


def _require_url(source: str) -> str:
    place = "spec.k3s.artifacts.source"
    try:
        parts = urllib.parse.urlsplit(source)
        port_is_fine = parts.port != 0
    except ValueError as error:
        raise _mistake(
            "source", "this is not a URL", place, str(error), "write it such as https://mirror/k3s"
        ) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        raise _mistake("source", "a mirror has an http or https URL", place, parts.scheme, "or name a directory")
    if parts.username is not None or parts.password is not None:
        # The URL goes into plans and to hosts, and would be shown; so it is not shown here either.
        raise _mistake(
            "source", "a mirror's URL must not hold credentials", place, parts.hostname, "use delivery: push"
        )
    if parts.query or parts.fragment:
        raise _mistake("source", "a mirror's URL has no ? or #", place, parts.hostname, _SHAPE)
    return source


def _binary(arch: str) -> str:
    try:
        return binary_name(arch)
    except ContractError as error:
        failure = error.failure
        raise BadInput(
            failure.what, evidence=failure.evidence, remedy=failure.remedy, code="artifact.architecture"
        ) from error


def _require_named(sums: Mapping[str, str], name: str, where: str) -> dict[str, str]:
    if name not in sums:
        evidence = f"it lists {', '.join(sorted(sums))}" if sums else "it has no line from sha256sum"
        raise _mistake("checksum", f"the checksum file does not list {name}", where, evidence, _SHAPE)
    return dict(sums)


def _listing(folder: Path) -> str:
    return "the folder has " + (", ".join(sorted(item.name for item in folder.iterdir())[:20]) or "nothing")


def _merged(parts: Iterable[Resolved]) -> Resolved:
    files: dict[str, ReleaseFiles] = {}
    local_files: dict[str, Path] = {}
    for part in parts:
        files.update(part.files)
        local_files.update(part.local_files)
    return Resolved(files, local_files)


def _reporter(search: _Search, activity: str, name: str) -> OnBytes:
    """Return what turns bytes into few lines: one a tenth of the file, nothing for what takes no time."""
    told = 0

    def report(done: int, total: int | None) -> None:
        nonlocal told
        step = max(_LEAST_STEP_BYTES, (total or 0) // 10)
        if done // step > told:
            told = done // step
            whole = f" of {total // _MEGABYTE}" if total else ""
            search.on_progress(f"{activity} {name}: {done // _MEGABYTE}{whole} MB")

    return report


def _mistake(kind: str, what: str, where: str | Path, evidence: str, remedy: str) -> BadInput:
    return BadInput(what, where=str(where), evidence=evidence, remedy=remedy, code=f"artifact.{kind}")
