"""The journal: nothing secret gets in, every line is whole, and trouble with it stops no run."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from productive_k3s.contract.redaction import redact
from productive_k3s.contract.secret import Secret
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.workspace import journal as module
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.journal import Journal, list_journals, open_journal, read_journal


def no_trouble(line: str) -> None:
    pytest.fail(line)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "cluster.yaml", "edge")


@contextmanager
def opened(workspace: Workspace) -> Iterator[tuple[Journal, Path]]:
    with open_journal(workspace, "apply", no_trouble) as journal:
        assert journal.path is not None
        yield journal, journal.path


@dataclass(frozen=True)
class _Joined:
    server: str
    token: object = None


def test_what_is_recorded_can_be_replayed(workspace: Workspace) -> None:
    with opened(workspace) as (journal, path):
        journal.record("host", kind="change-done", where=Path("/x"), names=("a", "b"), more={"n": 1.5, "none": None})
        journal.record("odd", text="line\nbreak \u2028 ü \udc80", never=float("nan"), value=_Joined("s"))
    first, host, odd = read_journal(path)
    assert (first.kind, first.fields["verb"], first.fields["schema"]) == ("run-started", "apply", 1)
    assert first.fields["pid"] == os.getpid()
    assert host.fields == {"kind": "change-done", "where": "/x", "names": ["a", "b"], "more": {"n": 1.5, "none": None}}
    assert odd.fields["text"] == "line\nbreak \u2028 ü \udc80"
    assert odd.fields["value"] == {"server": "s", "token": None}
    assert 0 <= first.seconds <= host.seconds <= odd.seconds
    assert path.read_bytes().count(b"\n") == 3


def test_only_its_owner_reads_it(workspace: Workspace) -> None:
    with opened(workspace) as (_journal, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.name.endswith(f"Z-apply-{os.getpid()}.jsonl")


def test_each_line_is_there_at_once(workspace: Workspace) -> None:
    with opened(workspace) as (journal, path):
        journal.record("step")
        assert [entry.kind for entry in read_journal(path)] == ["run-started", "step"]


@pytest.mark.parametrize(
    "value",
    [
        Secret("hunter2"),
        ["fine", Secret("hunter2")],
        {"a": {"b": (Secret("hunter2"),)}},
        _Joined("s", Secret("hunter2")),
        {Secret("hunter2"): 1},
        b"hunter2",
        object(),
    ],
)
def test_a_secret_is_refused_wherever_it_hides(workspace: Workspace, value: object) -> None:
    with opened(workspace) as (journal, path):
        with pytest.raises(TypeError, match=r"^(a secret|a key is|bytes|object) ") as caught:
            journal.record("step", value=value)
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in path.read_text()
        assert len(read_journal(path)) == 1


_passwords = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=20, max_size=40)
_texts = st.text(max_size=30)
_hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(_texts, _hashes, st.sampled_from(["server:", "node:", ""]), _passwords, _texts)
def test_no_k3s_token_gets_through(before: str, ca: str, user: str, password: str, after: str) -> None:
    assume(password not in before + after)
    shown = redact(f"{before}K10{ca}::{user}{password}\n{after}")
    assert password not in shown
    assert shown == f"{before}[redacted]\n{after}"


@given(st.recursive(_texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3)))
def test_what_holds_no_secret_is_not_changed(value: object) -> None:
    assert module._plain(value, "value") == value


@given(st.sampled_from(["RSA ", "EC ", "OPENSSH ", ""]), _passwords, st.booleans())
def test_no_private_key_gets_through(kind: str, body: str, whole: bool) -> None:
    text = f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n" + (f"-----END {kind}PRIVATE KEY-----\n" if whole else "")
    plain = module._plain({"log": [f"said: {text}"], text: 1}, "value")
    assert body not in json.dumps(plain, ensure_ascii=False)
    assert plain["log"][0].startswith("said: [redacted]")


def test_a_kubeconfigs_key_is_redacted_and_its_certificate_is_not(workspace: Workspace) -> None:
    import base64

    def encoded(what: str) -> str:
        return base64.b64encode(f"-----BEGIN {what}-----\nabc\n-----END {what}-----\n".encode()).decode()

    text = f"ca: {encoded('CERTIFICATE')}\nclient-key-data: {encoded('EC PRIVATE KEY')}\n"
    with opened(workspace) as (journal, path):
        journal.record("step", text=text)
        shown = read_journal(path)[-1].fields["text"]
    assert shown == f"ca: {encoded('CERTIFICATE')}\nclient-key-data: [redacted]\n"


def test_a_full_disk_is_said_once_and_what_was_lost_is_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    real = os.write
    full = False

    def write(descriptor: int, content: memoryview) -> int:
        if full:
            real(descriptor, content[:5])  # a disk fills in the middle of a line
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content)

    with open_journal(workspace, "apply", told.append) as journal:
        monkeypatch.setattr(module.os, "write", write)
        full = True
        for _ in range(3):
            journal.record("step")
        full = False
        journal.record("after")
    assert journal.path is not None
    entries = read_journal(journal.path)
    assert [entry.kind for entry in entries] == ["run-started", "lines-lost", "after"]
    assert entries[1].fields == {"count": 3}
    assert len(told) == 1
    assert "No space left" in told[0]


def test_a_checkout_that_cannot_be_written_has_no_journal_and_the_run_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_args: object, **_more: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    told: list[str] = []
    with open_journal(workspace, "plan", told.append) as journal:
        journal.record("step")
        with pytest.raises(TypeError):
            journal.record("step", value=Secret("hunter2"))
    assert journal.path is None
    assert len(told) == 1
    assert "read-only" in told[0]
    assert list(workspace.folder.iterdir()) == []


def test_the_newest_are_kept(workspace: Workspace) -> None:
    assert list_journals(workspace) == ()
    paths = []
    for _ in range(module.KEPT + 5):
        with opened(workspace) as (_journal, path):
            paths.append(path)
    assert list(list_journals(workspace)) == paths[5:]


def test_a_cut_last_line_is_left_out_and_a_broken_one_is_named(workspace: Workspace) -> None:
    with opened(workspace) as (journal, path):
        journal.record("step")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert [entry.kind for entry in read_journal(path)] == ["run-started"]
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(BadInput) as caught:
        read_journal(path)
    assert (caught.value.code, caught.value.where) == ("journal.broken", f"{path}:1")
