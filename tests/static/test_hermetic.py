"""Static tests say the same on every computer: nothing of the person's who runs them is read."""

from __future__ import annotations

import subprocess
from pathlib import Path

from productive_k3s_infra.hosts.ssh.openssh import OpenSsh, this_person


def test_whoever_runs_them_has_an_empty_home() -> None:
    assert str(Path.home()) == this_person().home
    assert not (Path.home() / ".ssh").exists()


def test_ssh_reads_no_configuration() -> None:
    done = subprocess.run(("ssh", "-v", "-G", "web"), capture_output=True, text=True, timeout=20, check=True)
    assert "Reading configuration data" not in done.stderr
    assert OpenSsh().login("web").user is None
