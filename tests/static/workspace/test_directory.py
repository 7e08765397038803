"""The cluster directory: made once, private, and clear about what it cannot write."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from productive_k3s_infra import _files
from productive_k3s_infra.errors import BadInput, StepFailed
from productive_k3s_infra.workspace.directory import Workspace, open_workspace


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_naming_the_places_touches_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cluster.yaml", "edge")
    assert workspace.path == tmp_path / ".pk3s" / "edge"
    assert workspace.lock_file == tmp_path / "cluster.lock"
    assert workspace.known_hosts == tmp_path / "known_hosts"
    assert {place.parent for place in (workspace.kubeconfig, workspace.inventory, workspace.operator_key)} == {
        workspace.path
    }
    assert list(tmp_path.iterdir()) == []


def test_it_is_made_private_and_ignored_by_git(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "cluster.yaml", "edge")
    assert mode(workspace.path) == 0o700
    assert (tmp_path / ".pk3s" / ".gitignore").read_text() == "*\n"
    workspace.path.chmod(0o755)
    (tmp_path / ".pk3s" / ".gitignore").write_text("mine\n")
    open_workspace(tmp_path / "cluster.yaml", "edge")
    assert mode(workspace.path) == 0o700
    assert (tmp_path / ".pk3s" / ".gitignore").read_text() == "mine\n"


def test_it_stays_where_it_is_when_the_working_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = open_workspace(Path("cluster.yaml"), "edge")
    assert workspace.path == tmp_path / ".pk3s" / "edge"


def test_it_is_one_folder_however_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert Workspace(Path("../cluster.yaml"), "edge").folder == Workspace(tmp_path / "cluster.yaml", "edge").folder


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../etc", "a\0"])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        Workspace(tmp_path / "cluster.yaml", name)
    assert caught.value.code == "input.invalid"


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / ".pk3s").write_text("")
    with pytest.raises(BadInput) as caught:
        open_workspace(tmp_path / "cluster.yaml", "edge")
    assert caught.value.code == "workspace.not-a-directory"
    assert str(tmp_path / ".pk3s") in str(caught.value)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        open_workspace(tmp_path / "gone" / "cluster.yaml", "edge")
    assert caught.value.code == "workspace.missing"


def test_somebody_elses_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_workspace(tmp_path / "cluster.yaml", "edge")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(BadInput) as caught:
        open_workspace(tmp_path / "cluster.yaml", "edge")
    assert caught.value.code == "workspace.owner"
    assert "chown" in caught.value.remedy


@pytest.mark.parametrize(
    ("number", "code", "kind"),
    [
        (errno.EROFS, "workspace.read-only", BadInput),
        (errno.EACCES, "workspace.permission", BadInput),
        (errno.ENOSPC, "workspace.no-space", StepFailed),
        (errno.EDQUOT, "workspace.no-space", StepFailed),
        (errno.ELOOP, "workspace.link", BadInput),
        (errno.EIO, "workspace.io", StepFailed),
    ],
)
def test_what_the_disk_says_becomes_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, kind: type[Exception]
) -> None:
    def refuse(self: Path, *_args: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(kind) as caught:
        open_workspace(tmp_path / "cluster.yaml", "edge")
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert caught.value.remedy  # type: ignore[attr-defined]
    assert caught.value.where == str(tmp_path / ".pk3s")  # type: ignore[attr-defined]


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        open_workspace(tmp_path / "cluster.yaml", "e" * 300)
    assert caught.value.code == "workspace.name"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with _files.new_file(path, 0o600) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    program = (
        "import os, pathlib, sys\n"
        "from productive_k3s_infra._files import new_file\n"
        "with new_file(pathlib.Path(sys.argv[1]), 0o600) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, path], check=False, cwd="src", timeout=60)
    assert killed.returncode == -9
    assert not path.exists()
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    with _files.new_file(path, 0o640) as outer:
        outer.write(b"outer")
        assert not left[0].exists()
        _files.replace_file(path, b"inner", 0o600)
        assert path.read_bytes() == b"inner"
    assert path.read_bytes() == b"outer"
    assert mode(path) == 0o640
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_equal_is_not_written_but_its_mode_is_set(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert _files.replace_file(path, b"text", 0o644)
    before = path.stat().st_ino
    assert not _files.replace_file(path, b"text", 0o600)
    assert path.stat().st_ino == before
    assert mode(path) == 0o600
