"""cluster.lock: one record a cluster, read back as written, never guessed at, never overwritten when not understood."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from productive_k3s_infra import _files
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.plan.model import ClusterRecord, Reach
from productive_k3s_infra.workspace import record
from productive_k3s_infra.workspace.record import forget_record, read_record, write_record

RECORD = ClusterRecord("0123456789abcdef" * 4, "v1.34.4+k3s1")
OTHER = ClusterRecord("f" * 64, "v1.35.1+k3s1")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1sKp2b1Xo6WmQ0c9v5m7yq3tq4n2v0w8x6y4z2A1b3"


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_record(tmp_path, "edge") is None
    assert write_record(tmp_path, "edge", RECORD)
    assert read_record(tmp_path, "edge") == RECORD
    assert (tmp_path / "cluster.lock").read_text().startswith("# Written by pk3s. Commit this file")
    assert not write_record(tmp_path, "edge", RECORD)


def test_how_hosts_were_reached_is_read_back(tmp_path: Path) -> None:
    jump = Reach("bastion.example", "ops", 2222, host_key=KEY)
    hosts = {"server-1": Reach("10.0.0.11", "root", 22, jump, "~/.ssh/id_ed25519", KEY), "1": Reach("fd00::1", "no")}
    wanted = ClusterRecord(RECORD.ca_hash, RECORD.version, hosts)
    write_record(tmp_path, "edge", wanted)
    assert read_record(tmp_path, "edge") == wanted
    assert not write_record(tmp_path, "edge", wanted)


@pytest.mark.parametrize("name", ["edge", "true", "null", "1e5", "0123", "on"])
@pytest.mark.parametrize("digits", ["1" * 64, "1e" + "0" * 62])
def test_names_and_hashes_that_look_like_something_else_stay_text(tmp_path: Path, name: str, digits: str) -> None:
    wanted = ClusterRecord(digits, "v1.34.4+k3s1")
    write_record(tmp_path, name, wanted)
    write_record(tmp_path, "other", OTHER)
    assert read_record(tmp_path, name) == wanted
    assert read_record(tmp_path, "other") == OTHER


def test_another_record_stays_as_it_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "cluster.lock"
    mine = f"  edge:  # the shop's\n    version:   'v1.34.4+k3s1'\n    caHash: {RECORD.ca_hash}\n    # ask Ada\n"
    path.write_text(f"schema: 2\nclusters:\n{mine}  north:\n    caHash: {'a' * 64}\n    version: v1.34.1+k3s1\n")
    for name in ("a", "f", "north", "z"):
        assert write_record(tmp_path, name, OTHER)
        assert mine in path.read_text()
        assert read_record(tmp_path, name) == OTHER
        assert read_record(tmp_path, "edge") == RECORD
    for name in ("z", "a", "north", "f"):
        assert forget_record(tmp_path, name)
        assert mine in path.read_text()
        assert read_record(tmp_path, name) is None
    assert path.read_text() == f"schema: 2\nclusters:\n{mine}"


@pytest.mark.parametrize(
    "text",
    [
        f"{{schema: 2, clusters: {{edge: {{caHash: {RECORD.ca_hash}, version: v1.34.4+k3s1}}}}}}",
        f"schema: 2\nclusters: {{edge: {{caHash: {RECORD.ca_hash}, version: v1.34.4+k3s1}}}}",
        f"schema: 2\nclusters:\n    edge:\n        caHash: {RECORD.ca_hash}\n        version: v1.34.4+k3s1",
        f"clusters:\n  edge: &e {{caHash: {RECORD.ca_hash}, version: v1.34.4+k3s1}}\n\nschema: 2\n",
        f"schema: 2\r\nclusters:\r\n  edge:\r\n    caHash: {RECORD.ca_hash}\r\n    version: v1.34.4+k3s1\r\n",
    ],
)
def test_however_a_file_is_laid_out_no_record_is_lost(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.lock").write_bytes(text.encode())
    assert read_record(tmp_path, "edge") == RECORD
    for name in ("before", "north"):
        write_record(tmp_path, name, OTHER)
    write_record(tmp_path, "edge", OTHER)
    assert [read_record(tmp_path, name) for name in ("before", "edge", "north")] == [OTHER] * 3
    forget_record(tmp_path, "edge")
    assert [read_record(tmp_path, name) for name in ("before", "edge", "north")] == [OTHER, None, OTHER]


def test_the_file_goes_with_its_last_record(tmp_path: Path) -> None:
    write_record(tmp_path, "edge", RECORD)
    write_record(tmp_path, "north", OTHER)
    assert not forget_record(tmp_path, "south")
    assert forget_record(tmp_path, "edge")
    assert read_record(tmp_path, "north") == OTHER
    assert forget_record(tmp_path, "north")
    assert list(tmp_path.iterdir()) == []
    assert not forget_record(tmp_path, "north")


def test_clusters_that_are_recorded_at_the_same_time_do_not_lose_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path, "south", OTHER)
    others = [threading.Thread(target=write_record, args=(tmp_path, "north", OTHER))]

    def replace_file(path: Path, content: bytes, mode: int) -> bool:
        # The other one comes when this one has read, and not yet written.
        if others[0].ident is None:
            others[0].start()
            others[0].join(0.5)
        return _files.replace_file(path, content, mode)

    monkeypatch.setattr(record, "replace_file", replace_file)
    write_record(tmp_path, "edge", RECORD)
    others[0].join(60)
    assert [read_record(tmp_path, name) for name in ("edge", "north", "south")] == [RECORD, OTHER, OTHER]


def test_a_record_without_a_cluster_s_name_is_refused_and_what_to_write_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cluster.lock"
    old = f"# kept\nschema: 1\ncaHash: {RECORD.ca_hash}\nversion: {RECORD.version}\n"
    path.write_text(old)
    for attempt in (
        lambda: read_record(tmp_path, "edge"),
        lambda: write_record(tmp_path, "edge", OTHER),
        lambda: forget_record(tmp_path, "edge"),
    ):
        with pytest.raises(BadInput) as caught:
            attempt()
        assert caught.value.code == "record.unnamed"
        assert caught.value.where == f"{path}:3"
        assert "  NAME:" in caught.value.remedy
    assert path.read_text() == old
    path.write_text(f"schema: 2\nclusters:\n  edge:\n    caHash: {RECORD.ca_hash}\n    version: {RECORD.version}\n")
    assert read_record(tmp_path, "edge") == RECORD


_CA = f"    caHash: {RECORD.ca_hash}\n"
_VERSION = "    version: v1.34.4+k3s1\n"
_TOP = "schema: 2\nclusters:\n  edge:\n"


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("", "1", "record.broken"),
        ("- a\n", "1", "record.broken"),
        ("a: 1\n", "1", "record.broken"),
        ("schema: 2\n", "1", "record.broken"),
        ("schema: 2\nclusters: none\n", "2", "record.broken"),
        ("schema: [2]\nclusters: {}\n", "1", "record.broken"),
        ("schema: 2\nclusters:\n  [a]: 1\n", "3", "record.broken"),
        (f"{_TOP}{_CA}", "3", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}{_CA}", "6", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}  edge:\n{_CA}{_VERSION}", "6", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}    more: 1\n", "6", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}more: 1\n", "6", "record.broken"),
        (f"{_TOP}    caHash: abc\n{_VERSION}", "4", "record.broken"),
        (f"{_TOP}{_CA}    version: latest\n", "5", "record.broken"),
        (f"{_TOP}{_CA}    version: [a]\n", "5", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}    hosts: none\n", "6", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}    hosts:\n      s: {{address: a}}\n", "7", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}    hosts:\n      s: {{address: a, user: b, port: 0}}\n", "7", "record.broken"),
        (f"{_TOP}{_CA}{_VERSION}  north:\n    caHash: abc\n{_VERSION}", "7", "record.broken"),
        (f"schema: one\nclusters:\n  edge:\n{_CA}{_VERSION}", "1", "record.broken"),
        (f"# new\nschema: 3\nnodes: x\nclusters:\n  edge:\n{_CA}{_VERSION}", "2", "record.newer"),
        (f"schema: 2\n<<<<<<< HEAD\n{_CA}=======\n{_CA}>>>>>>> other\n{_VERSION}", "3", "record.broken"),
        (f"schema: 2\n\t{_CA}", "2", "record.broken"),
    ],
)
def test_a_file_that_is_not_understood_names_its_line_and_is_left_alone(
    tmp_path: Path, text: str, line: str, code: str
) -> None:
    path = tmp_path / "cluster.lock"
    path.write_text(text)
    for attempt in (
        lambda: read_record(tmp_path, "edge"),
        lambda: write_record(tmp_path, "edge", RECORD),
        lambda: forget_record(tmp_path, "edge"),
    ):
        with pytest.raises(BadInput) as caught:
            attempt()
        assert caught.value.code == code
        assert caught.value.where == f"{path}:{line}"
        assert caught.value.remedy
    assert path.read_text() == text


def test_what_is_no_text_or_no_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cluster.lock"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not text"):
        read_record(tmp_path, "edge")
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput) as caught:
        read_record(tmp_path, "edge")
    assert caught.value.code == "workspace.not-a-file"


@pytest.mark.parametrize("wanted", [ClusterRecord("", "v1.34.4+k3s1"), ClusterRecord("a" * 64, "stable")])
def test_what_the_next_run_could_not_read_is_not_written(tmp_path: Path, wanted: ClusterRecord) -> None:
    with pytest.raises(BadInput):
        write_record(tmp_path, "edge", wanted)
    assert list(tmp_path.iterdir()) == []
