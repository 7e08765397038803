"""The release's own list of images: from a directory, from a mirror once, and never an error."""

from __future__ import annotations

from pathlib import Path

from productive_k3s_infra.artifacts.image_list import image_list
from static.artifacts.mirror import VERSION, mirror

TEXT = b"# images\ndocker.io/rancher/mirrored-pause:3.6\ndocker.io/rancher/mirrored-library-busybox:1.99.0\n"
NAMES = ("docker.io/rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-library-busybox:1.99.0")


def test_a_mirror_is_asked_once(tmp_path: Path) -> None:
    with mirror() as served:
        served.files["k3s-images.txt"] = TEXT
        assert [image_list(served.url, VERSION, tmp_path) for _ in range(2)] == [NAMES, NAMES]
        assert [path.rpartition("/")[2] for path in served.asked] == ["k3s-images.txt"]


def test_a_mirror_without_a_list_and_one_that_is_away_are_no_error(tmp_path: Path) -> None:
    with mirror() as served:
        assert image_list(served.url, VERSION, tmp_path) == ()
    assert image_list("http://127.0.0.1:9/k3s", VERSION, tmp_path) == ()


def test_a_directory_has_it_beside_the_binary(tmp_path: Path) -> None:
    assert image_list(str(tmp_path), VERSION, tmp_path) == ()
    (tmp_path / VERSION).mkdir()
    (tmp_path / VERSION / "k3s-images.txt").write_bytes(TEXT)
    assert image_list(str(tmp_path), VERSION, tmp_path) == NAMES
    (tmp_path / VERSION / "k3s-images.txt").write_bytes(b"\xff\xfe")
    assert image_list(str(tmp_path), VERSION, tmp_path) == ()
