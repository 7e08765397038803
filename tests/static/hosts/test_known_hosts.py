"""The team's known_hosts file, and fingerprints as people see them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import pytest

from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.hosts.ssh import known_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICMrDSnRyjYLtqj3XYIjMuxlZts0HJOV/0tMm/AhSE6y"


def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(KEY + " comment\n")
    said = subprocess.run(("ssh-keygen", "-lf", tmp_path / "key.pub"), check=True, capture_output=True, text=True)
    assert known_hosts.fingerprint(KEY) == said.stdout.split()[1]
    assert known_hosts.fingerprint("no key") == "no key"


@pytest.mark.parametrize(("port", "alone"), [(22, "10.0.0.1 "), (2222, "[10.0.0.1]:2222 ")])
def test_what_is_added_is_found_by_ssh(tmp_path: Path, port: int, alone: str) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("# the team's\nother.example " + KEY)  # no end of line: an editor left it so
    line = known_hosts.entry("10.0.0.1", port, f"{KEY} root@host")
    assert line == f"{alone}{KEY}"
    known_hosts.append(path, line)
    assert path.read_text().splitlines()[1:] == [f"other.example {KEY}", line]
    entries = asyncssh.import_known_hosts(known_hosts.read(path))
    assert entries.match("10.0.0.1", "10.0.0.1", None if port == 22 else port)[0]
    assert entries.match("other.example", "", None)[0]


def test_no_file_has_no_keys(tmp_path: Path) -> None:
    assert known_hosts.read(None) == ""
    assert known_hosts.read(tmp_path / "none") == ""


def test_what_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        known_hosts.read(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput):
        known_hosts.read(tmp_path / "binary")
    with pytest.raises(BadInput):
        known_hosts.append(tmp_path / "no" / "folder", "line")
