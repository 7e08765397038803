"""What is typed by hand, as values."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from productive_k3s.cli import _config
from productive_k3s.contract.failure import ContractError
from static.contract_program.hosts import VERSION


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["disable=traefik"], {"disable": "traefik"}),
        (["disable=traefik", "disable=servicelb"], {"disable": ["traefik", "servicelb"]}),
        (["disable=[traefik, servicelb]"], {"disable": ["traefik", "servicelb"]}),
        (["write-kubeconfig-mode=0644"], {"write-kubeconfig-mode": "0644"}),
        (['write-kubeconfig-mode="0644"'], {"write-kubeconfig-mode": "0644"}),
        (["https-listen-port=7443"], {"https-listen-port": 7443}),
        (["debug=true"], {"debug": True}),
    ],
)
def test_flags_of_k3s_by_hand(typed: list[str], meant: dict[str, object]) -> None:
    assert _config(typed) == meant


@pytest.mark.parametrize("typed", ["disable", "=traefik", "disable=[traefik"])
def test_what_is_no_flag_is_refused(typed: str) -> None:
    with pytest.raises(ContractError) as caught:
        _config([typed])
    assert (caught.value.failure.code, caught.value.failure.exit_code) == ("request.flag", 2)


@pytest.mark.parametrize(
    ("argument", "given", "code"),
    [
        ("request.json", b"{}", "request.source"),
        ("-", b"", "request.not-json"),
        ("-", b'{"mode": "server"', "request.not-json"),
        ("-", b'["token=hunter2"]', "request.not-json"),
        ("-", b"\xff\xfe", "request.not-json"),
    ],
)
def test_what_is_no_request_is_bad_input(tmp_path: Path, argument: str, given: bytes, code: str) -> None:
    """As a person runs it, in a folder that holds nothing."""
    command = [sys.executable, "-m", "productive_k3s", "server", "--request", argument, "--plan", "--json"]
    done = subprocess.run(command, input=given, capture_output=True, cwd=tmp_path, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (2, b"")
    result = json.loads(done.stdout.splitlines()[-1])
    assert [failure["code"] for failure in result["failures"]] == [code]
    assert b"hunter2" not in done.stdout


def test_a_token_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    binary = tmp_path / VERSION / "k3s"
    binary.parent.mkdir()
    binary.write_bytes(b"k3s")
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    (binary.parent / f"sha256sum-{arch}.txt").write_text(
        "".join(f"{hashlib.sha256(b'k3s').hexdigest()}  {name}\n" for name in ("k3s", "k3s-arm64"))
    )
    binary.with_name("k3s-arm64").write_bytes(b"k3s")
    words = ["--artifacts", str(tmp_path), "--version", VERSION, "--server", "https://10.0.0.11:6443"]
    command = [sys.executable, "-m", "productive_k3s", "agent", *words, "--token-file", str(tmp_path / "gone")]
    done = subprocess.run([*command, "--plan", "--json"], capture_output=True, cwd=tmp_path, check=False, timeout=60)
    (failure,) = json.loads(done.stdout.splitlines()[-1])["failures"]
    assert (failure["code"], failure["evidence"], done.returncode) == ("request.token-file", str(tmp_path / "gone"), 2)
