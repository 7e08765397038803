"""A person's kubeconfig with our context in it, in the hands of kubectl: the one that K3s has inside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from productive_k3s_infra.operations.kubeconfig_merge import unmerge_kubeconfig
from productive_k3s_infra.operations.session import Session
from static.operations.test_kubeconfig_merge import OWN, make, merge, mode, names

pytestmark = pytest.mark.contract

_SECONDS = 60.0
Config = Callable[..., str]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return make(tmp_path / "edge", monkeypatch)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.write_text(OWN)
    path.chmod(0o600)
    return path


@pytest.fixture
def config(own: Path, kubectl_tool: Path) -> Config:
    """`kubectl config` with these words, on the person's file; returns what it prints."""

    def run(*words: str) -> str:
        command = (kubectl_tool, "--kubeconfig", own, "config", *words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_it_reads_both(session: Session, own: Path, config: Config) -> None:
    merge(session, own, use=False)
    assert config("get-contexts", "-o", "name").split() == ["edge", "work"]
    assert config("current-context") == "work"
    ours = yaml.safe_load(config("view", "--minify", "--context", "edge"))
    assert [one["cluster"]["server"] for one in ours["clusters"]] == ["https://10.213.0.11:6443"]
    theirs = yaml.safe_load(config("view", "--minify", "--raw", "--context", "work"))
    assert [one["user"]["token"] for one in theirs["users"]] == ["decoy-token"]


def test_what_it_writes_anew_is_ours_still(session: Session, own: Path, config: Config) -> None:
    """It writes the whole file in its own order, without comments; what tells our entries from others stays."""
    merge(session, own, use=False)
    config("set-context", "work", "--namespace", "other")
    assert own.read_text() != OWN
    assert "# mine" not in own.read_text()
    assert not merge(session, own, use=False).changed
    assert (unmerge_kubeconfig(session, own).changed, mode(own)) == (True, 0o600)
    assert names(own) == {"clusters": ["work"], "users": ["me"], "contexts": ["work"]}
    assert config("view", "-o", "jsonpath={.contexts[0].context.namespace}") == "other"


def test_what_it_takes_out_or_switches_to_comes_back(session: Session, own: Path, config: Config) -> None:
    merge(session, own, use=True)
    assert config("current-context") == "edge"
    config("use-context", "work")
    config("delete-context", "edge")
    assert merge(session, own, use=False).changed
    assert config("get-contexts", "-o", "name").split() == ["edge", "work"]
    assert config("current-context") == "work"
    config("use-context", "edge")
    unmerge_kubeconfig(session, own)
    assert config("get-contexts", "-o", "name") == "work"
    assert "edge" not in own.read_text()
