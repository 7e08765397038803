"""cluster.lock: read back as written, never guessed at, never overwritten when it is not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.plan.model import ClusterRecord
from productive_k3s_infra.workspace.record import read_record, write_record

RECORD = ClusterRecord("0123456789abcdef" * 4, "v1.34.4+k3s1")


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "cluster.lock"
    assert read_record(path) is None
    assert write_record(path, RECORD)
    assert read_record(path) == RECORD
    assert path.read_text().startswith("# Written by pk3s. Commit this file")
    assert not write_record(path, RECORD)


def test_a_hash_of_digits_stays_text(tmp_path: Path) -> None:
    record = ClusterRecord("1" * 64, "v1.34.4+k3s1")
    write_record(tmp_path / "cluster.lock", record)
    assert read_record(tmp_path / "cluster.lock") == record
    exponent = ClusterRecord("1e" + "0" * 62, "v1.34.4+k3s1")
    write_record(tmp_path / "cluster.lock", exponent)
    assert read_record(tmp_path / "cluster.lock") == exponent


_CA = f"caHash: {RECORD.ca_hash}\n"
_VERSION = "version: v1.34.4+k3s1\n"


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("", "1", "record.broken"),
        ("- a\n", "1", "record.broken"),
        (f"schema: 1\n{_CA}", "1", "record.broken"),
        (f"schema: 1\n{_CA}{_VERSION}{_CA}", "4", "record.broken"),
        (f"schema: 1\n{_CA}{_VERSION}more: 1\n", "4", "record.broken"),
        (f"schema: 1\ncaHash: abc\n{_VERSION}", "2", "record.broken"),
        (f"schema: 1\n{_CA}version: latest\n", "3", "record.broken"),
        (f"schema: 1\n{_CA}version: [a]\n", "3", "record.broken"),
        (f"schema: one\n{_CA}{_VERSION}", "1", "record.broken"),
        (f"# new\nschema: 2\nnodes: x\n{_CA}{_VERSION}", "2", "record.newer"),
        (f"schema: 1\n<<<<<<< HEAD\n{_CA}=======\n{_CA}>>>>>>> other\n{_VERSION}", "3", "record.broken"),
        (f"schema: 1\n\t{_CA}", "2", "record.broken"),
    ],
)
def test_a_file_that_is_not_understood_names_its_line_and_is_left_alone(
    tmp_path: Path, text: str, line: str, code: str
) -> None:
    path = tmp_path / "cluster.lock"
    path.write_text(text)
    for attempt in (lambda: read_record(path), lambda: write_record(path, RECORD)):
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
        read_record(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput) as caught:
        read_record(path)
    assert caught.value.code == "workspace.not-a-file"


@pytest.mark.parametrize("record", [ClusterRecord("", "v1.34.4+k3s1"), ClusterRecord("a" * 64, "stable")])
def test_what_the_next_run_could_not_read_is_not_written(tmp_path: Path, record: ClusterRecord) -> None:
    with pytest.raises(BadInput):
        write_record(tmp_path / "cluster.lock", record)
    assert list(tmp_path.iterdir()) == []
