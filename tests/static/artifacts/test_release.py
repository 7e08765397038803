"""What hosts are told to have, and where from: a mirror, or a directory of this computer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from productive_k3s.contract.request import Artifact
from productive_k3s_infra.artifacts import cache as cache_module
from productive_k3s_infra.artifacts import download
from productive_k3s_infra.artifacts import release as release_module
from productive_k3s_infra.artifacts.release import Resolved, resolve_release
from productive_k3s_infra.errors import BadInput, Pk3sError, StepFailed
from productive_k3s_infra.plan.model import ReleaseFiles
from static.artifacts.mirror import FILES, VERSION, Mirror, digest, mirror, release_directory

AMD64 = frozenset({"amd64"})
ALL = frozenset({"amd64", "arm64", "arm"})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "_FIRST_WAIT_SECONDS", 0.0)
    with mirror() as one:
        yield one


def resolve(
    source: str | Path, cache: Path, arches: frozenset[str] = AMD64, delivery: str = "auto", version: str = VERSION
) -> Resolved:
    return resolve_release(str(source), version, arches, delivery=delivery, cache=cache)


def parts(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.name.endswith(".part")]


def settle(folder: Path) -> None:
    """Give files an age at which their digests are remembered."""
    old = time.time() - 60
    for path in folder.iterdir():
        os.utime(path, (old, old))


class TestPull:
    def test_hosts_get_urls_and_digests_of_the_checksum_files(self, served: Mirror, cache: Path) -> None:
        found = resolve(served.url + "/", cache, ALL)
        base = f"{served.url}/v1.34.4%2Bk3s1"
        assert found.local_files == {}
        assert found.files == {
            arch: ReleaseFiles(VERSION, arch, Artifact(name, digest(FILES[name]), f"{base}/{name}"))
            for arch, name in (("amd64", "k3s"), ("arm64", "k3s-arm64"), ("arm", "k3s-armhf"))
        }
        assert sorted(served.asked) == sorted(f"/k3s/v1.34.4%2Bk3s1/sha256sum-{arch}.txt" for arch in ALL)

    def test_a_known_version_needs_no_network(self, served: Mirror, cache: Path) -> None:
        first = resolve(served.url, cache)
        served.answers["sha256sum-amd64.txt"] = 500
        assert resolve(served.url, cache) == first
        assert len(served.asked) == 1
        with pytest.raises(StepFailed):
            resolve(served.url, cache, version="v1.34.5+k3s1")
        with pytest.raises(StepFailed):
            resolve(served.url + "/other", cache)

    def test_a_broken_kept_file_is_fetched_anew(self, served: Mirror, cache: Path) -> None:
        first = resolve(served.url, cache)
        (kept,) = cache.rglob("sha256sum-amd64.txt")
        kept.write_bytes(b"\xff")
        assert resolve(served.url, cache) == first
        kept.write_text("nothing\n")
        assert resolve(served.url, cache) == first

    @pytest.mark.parametrize("kept", ["blocked", "fine"])
    def test_a_cache_that_cannot_be_written_only_costs_time(self, served: Mirror, cache: Path, kept: str) -> None:
        if kept == "blocked":
            cache.write_text("a file where the cache should be")
        assert resolve(served.url, cache) == resolve(served.url, cache)
        assert len(served.asked) == (2 if kept == "blocked" else 1)

    def test_the_official_releases_are_asked_at_github(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def fetch(url: str) -> str:
            asked.append(url)
            return f"{'a' * 64}  k3s\n"

        monkeypatch.setattr(download, "fetch_text", fetch)
        found = resolve("release", cache)
        base = "https://github.com/k3s-io/k3s/releases/download/v1.34.4%2Bk3s1"
        assert asked == [f"{base}/sha256sum-amd64.txt"]
        assert found.files["amd64"].binary == Artifact("k3s", "a" * 64, f"{base}/k3s")

    @pytest.mark.parametrize(
        ("answer", "kind", "code"),
        [
            (404, BadInput, "artifact.missing"),
            (403, StepFailed, "artifact.unreachable"),
            (503, StepFailed, "artifact.unreachable"),
            ("cut", StepFailed, "artifact.unreachable"),
            ("to:ftp://127.0.0.1/x", StepFailed, "artifact.unreachable"),
            ("to:file:///etc/passwd", StepFailed, "artifact.unreachable"),
            ("to:sha256sum-amd64.txt", StepFailed, "artifact.unreachable"),
        ],
    )
    def test_what_a_mirror_does_wrong_is_told(
        self, served: Mirror, cache: Path, answer: str | int, kind: type[Pk3sError], code: str
    ) -> None:
        served.answers["sha256sum-amd64.txt"] = answer
        with pytest.raises(kind) as caught:
            resolve(served.url, cache)
        assert caught.value.code == code
        assert caught.value.where == f"{served.url}/v1.34.4%2Bk3s1/sha256sum-amd64.txt"
        assert caught.value.remedy
        assert caught.value.evidence
        assert not list(cache.rglob("sha256sum-*"))

    def test_nobody_listening_is_told_with_the_ways_around_it(self, served: Mirror, cache: Path) -> None:
        url = served.url.replace(served.url.rpartition(":")[2], "1/k3s")
        with pytest.raises(StepFailed) as caught:
            resolve(url, cache)
        assert caught.value.code == "artifact.unreachable"
        assert "mirror" in caught.value.remedy
        assert "directory" in caught.value.remedy

    @pytest.mark.parametrize("content", [b"<html>Sign in</html>", b"", f"{'a' * 64}  k3s-arm64\n".encode()])
    def test_a_page_instead_of_checksums_is_told_and_not_kept(
        self, served: Mirror, cache: Path, content: bytes
    ) -> None:
        served.files["sha256sum-amd64.txt"] = content
        with pytest.raises(BadInput) as caught:
            resolve(served.url, cache)
        assert caught.value.code == "artifact.checksum"
        assert not list(cache.rglob("sha256sum-*"))

    def test_an_endless_answer_ends(self, served: Mirror, cache: Path) -> None:
        served.files["sha256sum-amd64.txt"] = b"a" * ((1 << 20) + 1)
        with pytest.raises(StepFailed, match="could not fetch"):
            resolve(served.url, cache)

    def test_a_redirect_is_followed(self, served: Mirror, cache: Path) -> None:
        served.files["elsewhere"] = served.files["sha256sum-amd64.txt"]
        served.answers["sha256sum-amd64.txt"] = "to:/elsewhere"
        assert resolve(served.url, cache).files["amd64"].binary.sha256 == digest(FILES["k3s"])


class TestPushFromAMirror:
    def test_files_are_fetched_once_and_images_with_them(self, served: Mirror, cache: Path) -> None:
        found = resolve(served.url, cache, frozenset({"amd64", "arm64"}), "push")
        files = found.files["amd64"]
        assert files.pushed
        assert files.binary == Artifact("k3s", digest(FILES["k3s"]))
        image = "k3s-airgap-images-amd64.tar.zst"
        assert files.images == (Artifact(image, digest(FILES[image])),)
        assert {sha: path.read_bytes() for sha, path in found.local_files.items()} == {
            digest(FILES[name]): FILES[name] for name in ("k3s", image, "k3s-arm64", "k3s-airgap-images-arm64.tar.gz")
        }
        asked = len(served.asked)
        assert resolve(served.url, cache, frozenset({"amd64", "arm64"}), "push") == found
        assert len(served.asked) == asked

    @pytest.mark.parametrize(("answer", "code"), [("cut", "unreachable"), (404, "missing"), (500, "unreachable")])
    def test_what_does_not_arrive_leaves_nothing(
        self, served: Mirror, cache: Path, answer: str | int, code: str
    ) -> None:
        served.answers["k3s"] = answer
        with pytest.raises(Pk3sError) as caught:
            resolve(served.url, cache, delivery="push")
        assert caught.value.code == f"artifact.{code}"
        assert not [path for path in cache.rglob("files/**/*") if path.is_file()]
        served.answers.clear()
        assert resolve(served.url, cache, delivery="push").local_files

    @pytest.mark.parametrize("answer", ["whole", "no-length"])
    def test_wrong_content_is_never_kept(self, served: Mirror, cache: Path, answer: str) -> None:
        served.files["k3s"] = b"somebody else's"
        served.answers["k3s"] = answer
        with pytest.raises(StepFailed) as caught:
            resolve(served.url, cache, delivery="push")
        assert caught.value.code == "artifact.checksum"
        assert digest(b"somebody else's") in caught.value.evidence
        assert not [path for path in cache.rglob("files/**/*") if path.is_file()]

    def test_a_kept_file_that_changed_is_fetched_anew(self, served: Mirror, cache: Path) -> None:
        found = resolve(served.url, cache, delivery="push")
        path = found.local_files[digest(FILES["k3s"])]
        path.write_bytes(b"rotten")
        assert resolve(served.url, cache, delivery="push") == found
        assert path.read_bytes() == FILES["k3s"]

    def test_ending_it_in_the_middle_leaves_nothing(
        self, served: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(release_module, "_LEAST_STEP_BYTES", 100)

        def stop(_line: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            resolve_release(served.url, VERSION, AMD64, delivery="push", cache=cache, on_progress=stop)
        assert not parts(cache)
        assert not [path for path in cache.rglob("files/**/*") if path.is_file()]

    def test_progress_is_few_lines(self, served: Mirror, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(release_module, "_LEAST_STEP_BYTES", 1)
        monkeypatch.setattr(release_module, "_MEGABYTE", 1000)
        served.files["k3s"] = b"x" * 5_000_000
        served.files["sha256sum-amd64.txt"] = f"{digest(served.files['k3s'])}  k3s\n".encode()
        lines: list[str] = []
        resolve_release(served.url, VERSION, AMD64, delivery="push", cache=cache, on_progress=lines.append)
        assert 1 <= len(lines) <= 10
        assert lines[-1] == "fetching k3s: 5000 of 5000 MB"


class TestDirectory:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        release_directory(tmp_path / "releases", FILES)
        return tmp_path / "releases"

    def test_what_it_holds_is_pushed_from_there(self, directory: Path, cache: Path) -> None:
        found = resolve(directory, cache, ALL)
        files = found.files["amd64"]
        assert files == ReleaseFiles(
            VERSION,
            "amd64",
            Artifact("k3s", digest(FILES["k3s"])),
            (
                Artifact(
                    "k3s-airgap-images-amd64.tar.zst",
                    digest(FILES["k3s-airgap-images-amd64.tar.zst"]),
                ),
            ),
            pushed=True,
        )
        assert found.files["arm"].images == ()
        assert found.local_files[files.binary.sha256] == directory / VERSION / "k3s"
        assert len(found.local_files) == 5
        assert resolve(directory, cache, ALL, "push") == found

    def test_no_image_is_no_mistake_but_one_without_a_checksum_is(self, tmp_path: Path, cache: Path) -> None:
        folder = release_directory(tmp_path / "bare", {"k3s": b"binary"})
        assert resolve(folder.parent, cache).files["amd64"].images == ()
        (folder / "k3s-airgap-images-amd64.tar").write_bytes(b"unknown")
        with pytest.raises(BadInput) as caught:
            resolve(folder.parent, cache)
        assert caught.value.code == "artifact.checksum"
        assert "k3s-airgap-images-amd64.tar" in caught.value.what

    @pytest.mark.parametrize("name", ["k3s", "k3s-airgap-images-amd64.tar.zst"])
    def test_a_file_unlike_its_checksum_is_refused(self, directory: Path, cache: Path, name: str) -> None:
        settle(directory / VERSION)
        resolve(directory, cache)
        path = directory / VERSION / name
        path.write_bytes(b"changed")
        with pytest.raises(BadInput) as caught:
            resolve(directory, cache)
        assert caught.value.code == "artifact.checksum"
        assert caught.value.where == str(path)
        assert digest(b"changed") in caught.value.evidence

    def test_big_files_are_read_once(self, directory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settle(directory / VERSION)
        first = resolve(directory, cache)

        def refuse(*_arguments: object) -> str:
            pytest.fail("a file was read again")

        with monkeypatch.context() as patch:
            patch.setattr(cache_module, "_hash", refuse)
            assert resolve(directory, cache) == first
        for number in (1, 2):  # equal size, another mtime
            content = bytes([number]) * len(FILES["k3s"])
            (directory / VERSION / "k3s").write_bytes(content)
            with pytest.raises(BadInput) as caught:
                resolve(directory, cache)
            assert digest(content) in caught.value.evidence

    def test_a_young_file_may_change_within_the_grain_of_its_mtime(self, directory: Path, cache: Path) -> None:
        path = directory / VERSION / "k3s"
        soon = time.time_ns() + 60_000_000_000
        os.utime(path, ns=(soon, soon))
        resolve(directory, cache)
        path.write_bytes(b"x" * len(FILES["k3s"]))
        os.utime(path, ns=(soon, soon))
        with pytest.raises(BadInput) as caught:
            resolve(directory, cache)
        assert caught.value.code == "artifact.checksum"

    @pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 1}', b"\xff", b'{"a": [1, 2]}'])
    def test_a_broken_memory_of_digests_is_forgotten(self, directory: Path, cache: Path, content: bytes) -> None:
        settle(directory / VERSION)
        cache.mkdir()
        (cache / "digests.json").write_bytes(content)
        assert resolve(directory, cache) == resolve(directory, cache)
        assert b"k3s-airgap-images-amd64.tar.zst" in (cache / "digests.json").read_bytes()

    def test_another_version_names_those_it_has(self, directory: Path, cache: Path) -> None:
        release_directory(directory, FILES, "v1.33.9+k3s1")
        with pytest.raises(BadInput) as caught:
            resolve(directory, cache, version="v1.34.5+k3s1")
        assert caught.value.code == "artifact.version"
        assert caught.value.evidence == f"it has v1.33.9+k3s1, {VERSION}"

    @pytest.mark.parametrize("gone", ["k3s", "sha256sum-amd64.txt"])
    def test_what_is_missing_is_named(self, directory: Path, cache: Path, gone: str) -> None:
        (directory / VERSION / gone).unlink()
        with pytest.raises(BadInput) as caught:
            resolve(directory, cache)
        assert caught.value.code == "artifact.missing"
        assert caught.value.where == str(directory / VERSION / gone)

    def test_no_directory_is_told(self, tmp_path: Path, cache: Path) -> None:
        with pytest.raises(BadInput) as caught:
            resolve(tmp_path / "gone", cache)
        assert caught.value.code == "artifact.missing"

    def test_hosts_cannot_pull_from_it(self, directory: Path, cache: Path) -> None:
        with pytest.raises(BadInput) as caught:
            resolve(directory, cache, delivery="pull")
        assert caught.value.code == "artifact.delivery"


@pytest.mark.parametrize(
    ("source", "version", "arch", "code"),
    [
        ("https://", VERSION, "amd64", "artifact.source"),
        ("ftp://mirror/k3s", VERSION, "amd64", "artifact.source"),
        ("file:///srv/k3s", VERSION, "amd64", "artifact.source"),
        ("https://mirror:port/k3s", VERSION, "amd64", "artifact.source"),
        ("https://user:hunter2@mirror/k3s", VERSION, "amd64", "artifact.source"),
        ("https://mirror/k3s?x=hunter2", VERSION, "amd64", "artifact.source"),
        ("release", "", "amd64", "artifact.version"),
        ("release", "stable", "amd64", "artifact.version"),
        ("release", "v1/../..", "amd64", "artifact.version"),
        ("release", VERSION, "riscv64", "artifact.architecture"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    cache: Path, source: str, version: str, arch: str, code: str
) -> None:
    with pytest.raises(BadInput) as caught:
        resolve(source, cache, frozenset({arch}), version=version)
    assert caught.value.code == code
    assert "hunter2" not in repr(vars(caught.value))
    assert not cache.exists()
