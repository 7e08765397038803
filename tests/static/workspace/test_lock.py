"""One pk3s at a time, held between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from productive_k3s_infra.errors import Locked
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.lock import hold

_HOLDER = (
    "import pathlib, sys\n"
    "from productive_k3s_infra.workspace.directory import Workspace\n"
    "from productive_k3s_infra.workspace.lock import hold\n"
    "with hold(Workspace(pathlib.Path(sys.argv[1]), 'edge'), 'apply'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@contextmanager
def other_process(cluster_file: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _HOLDER, str(cluster_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="src") as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cluster.yaml", "edge")
    with other_process(workspace.cluster_file) as process:
        with pytest.raises(Locked) as caught, hold(workspace, "destroy"):
            pytest.fail("two hold it")
        assert (caught.value.code, caught.value.exit_code) == ("workspace.locked", 7)
        assert f"process {process.pid}: pk3s apply, user " in caught.value.evidence
        assert "since 20" in caught.value.evidence
        assert str(process.pid) in caught.value.remedy


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cluster.yaml", "edge")
    with other_process(workspace.cluster_file) as process:
        process.kill()
        process.wait(30)
        with hold(workspace, "apply"):
            assert str(os.getpid()) in workspace.lock.read_text()


def test_it_is_free_after_the_block_however_that_ends(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cluster.yaml", "edge")

    def interrupted() -> None:
        with hold(workspace, "apply"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert workspace.lock.read_text() == ""
    with hold(workspace, "apply"), pytest.raises(Locked), hold(workspace, "apply"):
        pytest.fail("two hold it")


def test_clusters_beside_each_other_do_not_wait_for_each_other(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    with hold(Workspace(file, "one"), "apply"), hold(Workspace(file, "two"), "apply"):
        pass


def test_a_lock_file_that_says_nothing_is_no_obstacle_to_the_message(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cluster.yaml", "edge")
    with hold(workspace, "apply"):
        workspace.lock.write_text("[1]")
        with pytest.raises(Locked) as caught, hold(workspace, "apply"):
            pytest.fail("two hold it")
        assert "unknown" in caught.value.evidence
