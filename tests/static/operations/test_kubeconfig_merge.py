"""`pk3s kubeconfig --merge`: a person's own kubeconfig gets our context, and loses nothing, whatever it looks like."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from productive_k3s_infra.errors import BadInput, Refused
from productive_k3s_infra.operations import kubeconfig as fetching
from productive_k3s_infra.operations.kubeconfig_merge import (
    Merged,
    merge_kubeconfig,
    persons_kubeconfig,
    unmerge_kubeconfig,
)
from productive_k3s_infra.operations.session import Session
from static.command_line import pk3s
from static.operations.world import Person, World, answer_for, session_of, write_cluster_file

# As kubectl writes one, with what people add.
OWN = """\
# mine
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: QUJD
    server: https://work.example:6443
  name: work
contexts:
- context:
    cluster: work
    namespace: "team"  # not default
    user: me
  name: work
current-context: work
kind: Config
preferences: {}
users:
- name: me
  user:
    token: decoy-token
"""


def merge(session: Session, path: Path, *, use: bool) -> Merged:
    return asyncio.run(merge_kubeconfig(session, path, use=use))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> dict[str, list[str]]:
    document = yaml.safe_load(path.read_text())
    return {section: [entry["name"] for entry in document[section]] for section in ("clusters", "users", "contexts")}


def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    folder.mkdir(exist_ok=True)
    world = World("edge", "10.213.0")
    found = session_of(write_cluster_file(folder, "cluster.yaml", "edge"), world, Person())
    world.machines["server-1"] = world.empty("server-1")
    answer_for(monkeypatch, [world], fetching)
    return found


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return make(tmp_path / "edge", monkeypatch)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.write_text(OWN)
    path.chmod(0o600)
    return path


def test_a_person_without_one_gets_one(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "home" / ".kube" / "config"
    done = merge(session, path, use=True)
    assert (done.changed, done.backup, mode(path), mode(path.parent)) == (True, None, 0o600, 0o700)
    document = yaml.safe_load(path.read_text())
    assert document["current-context"] == "edge"
    assert names(path) == {"clusters": ["edge"], "users": ["edge"], "contexts": ["edge"]}
    assert document["clusters"][0]["cluster"]["server"] == "https://10.213.0.11:6443"
    assert "clusters: [" not in path.read_text()
    unmerge_kubeconfig(session, path)
    assert names(path) == {"clusters": [], "users": [], "contexts": []}
    assert yaml.safe_load(path.read_text())["current-context"] == ""


def test_what_is_there_stays_and_comes_back_byte_for_byte(session: Session, own: Path) -> None:
    done = merge(session, own, use=False)
    text = own.read_text()
    left = iter(text.splitlines())
    assert all(line in left for line in OWN.splitlines()), "every line is there, in its order"
    assert yaml.safe_load(text)["current-context"] == "work"
    assert names(own)["contexts"] == ["work", "edge"]
    assert (done.backup, mode(own)) == (own.with_name("own.before-pk3s"), 0o600)
    assert done.backup is not None
    assert (done.backup.read_text(), mode(done.backup)) == (OWN, 0o600)
    assert not merge(session, own, use=False).changed
    assert own.read_text() == text
    assert unmerge_kubeconfig(session, own).changed
    assert own.read_text() == OWN
    assert not unmerge_kubeconfig(session, own).changed


def test_the_context_is_switched_when_told_and_back_when_ours_goes(session: Session, own: Path) -> None:
    merge(session, own, use=True)
    assert yaml.safe_load(own.read_text())["current-context"] == "edge"
    assert merge(session, own, use=True).changed is False
    unmerge_kubeconfig(session, own)
    assert own.read_text() == OWN
    merge(session, own, use=False)
    merge(session, own, use=True)
    unmerge_kubeconfig(session, own)
    assert own.read_text() == OWN


@pytest.mark.parametrize("section", ["cluster", "user", "context"])
def test_a_name_that_is_somebody_elses_is_refused(session: Session, own: Path, section: str) -> None:
    text = OWN.replace("name: work" if section != "user" else "name: me", "name: edge")
    own.write_text(text)
    with pytest.raises(Refused) as caught:
        merge(session, own, use=True)
    assert caught.value.code == "kubeconfig.taken"
    assert unmerge_kubeconfig(session, own).changed is False
    assert own.read_text() == text
    assert [path.name for path in own.parent.iterdir() if "before" in path.name] == []


@pytest.mark.parametrize(
    "content",
    [
        b"users: [{token: decoy-token",
        b"\t- a: decoy-token",
        b"- decoy-token",
        b"just decoy-token",
        b"kind: Pod\nname: decoy-token\n",
        b"clusters: decoy-token\n",
        b"users: [decoy-token]\n",
        b"a: 1\na: decoy-token\n",
        b"a: 1\n---\nb: decoy-token\n",
        b"\xff\xfe decoy-token",
    ],
)
def test_what_is_no_kubeconfig_is_refused_and_nothing_is_lost(session: Session, own: Path, content: bytes) -> None:
    own.write_bytes(content)
    for use in (False, True):
        with pytest.raises(BadInput) as caught:
            merge(session, own, use=use)
        assert (caught.value.code, caught.value.where) == ("kubeconfig.unusable", str(own))
        assert "decoy" not in f"{caught.value} {caught.value.evidence}"
    with pytest.raises(BadInput):
        unmerge_kubeconfig(session, own)
    assert own.read_bytes() == content
    assert not session.workspace.kubeconfig.exists(), "no host was asked"


def test_a_link_is_followed_and_an_open_file_is_closed(session: Session, own: Path, tmp_path: Path) -> None:
    own.chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(own)
    merge(session, link, use=False)
    assert link.is_symlink()
    assert "edge" in names(own)["contexts"]
    assert mode(own) == 0o600
    own.unlink()
    with pytest.raises(BadInput) as caught:
        merge(session, link, use=False)
    assert caught.value.code == "kubeconfig.missing"


def test_another_cluster_of_the_same_name_is_another(
    session: Session, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(session, own, use=False)
    before = own.read_text()
    other = make(tmp_path / "elsewhere", monkeypatch)
    with pytest.raises(Refused):
        merge(other, own, use=False)
    assert unmerge_kubeconfig(other, own).changed is False
    assert own.read_text() == before


def test_a_context_of_a_persons_own_keeps_what_it_refers_to(session: Session, own: Path) -> None:
    merge(session, own, use=False)
    document: dict[str, Any] = yaml.safe_load(own.read_text())
    document["contexts"].append(
        {"name": "edge-dev", "context": {"cluster": "edge", "user": "edge", "namespace": "dev"}}
    )
    own.write_text(yaml.safe_dump(document))
    unmerge_kubeconfig(session, own)
    assert names(own) == {"clusters": ["work", "edge"], "users": ["me", "edge"], "contexts": ["work", "edge-dev"]}


def test_a_json_file_and_an_empty_one_are_kubeconfigs(session: Session, own: Path) -> None:
    own.write_text('{"kind": "Config", "clusters": [], "users": null, "contexts": []}')
    merge(session, own, use=False)
    assert names(own)["users"] == ["edge"]
    own.write_text("\n")
    merge(session, own, use=False)
    assert names(own)["users"] == ["edge"]


def test_kubectl_s_first_file_is_taken() -> None:
    home = Path("/home/me")
    assert persons_kubeconfig({}, home) == home / ".kube" / "config"
    assert persons_kubeconfig({"KUBECONFIG": ""}, home) == home / ".kube" / "config"
    assert persons_kubeconfig({"KUBECONFIG": ":/a:/b"}, home) == Path("/a")


def test_the_cluster_s_own_file_is_not_merged_into_itself(session: Session) -> None:
    path = asyncio.run(fetching.get_kubeconfig(session))
    before = path.read_text()
    with pytest.raises(BadInput) as caught:
        merge(session, path, use=False)
    assert caught.value.code == "kubeconfig.own"
    assert path.read_text() == before


@pytest.mark.parametrize("words", [("--merge", "--unmerge"), ("--use",), ("--unmerge", "--use")])
def test_words_that_exclude_each_other(words: tuple[str, ...]) -> None:
    done = pk3s("kubeconfig", *words)
    assert done.returncode == 2
    assert "--merge" in done.stderr
