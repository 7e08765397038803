"""What the collection makes of the program's file and of what comes back, without Ansible around it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_bed import COLLECTION
from productive_k3s.contract.codec import encode
from productive_k3s.contract.request import Request
from productive_k3s_infra.artifacts.program import build_program
from static.contract_program.hosts import VERSION, fresh

HELLO = json.dumps({"type": "hello", "program": "0.1.0", "python": "3.11", "schema": 1})
RESULT = json.dumps({"type": "result", "outcome": "done"})


@pytest.fixture(scope="module")
def module() -> ModuleType:
    path = COLLECTION / "plugins/plugin_utils/program.py"
    spec = importlib.util.spec_from_file_location("productive_k3s_collection_program", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("code", "output", "errors", "expected"),
    [
        (127, "", "/bin/sh: 1: /usr/bin/python3: not found", "host.no-python"),
        (1, "", "pk3s-old-python 3.6.15", "host.old-python"),
        (1, "", "Sorry, user ops is not allowed to execute '/bin/sh' as root; sudo: failed", "sudo.refused"),
        (137, f"{HELLO}\n", "Killed", "host.no-result"),
        (137, f"{HELLO}\n", "sudo: python3 was killed", "host.no-result"),
        (0, "", "", "host.no-result"),
        (0, f"{HELLO}\n{RESULT}\n{RESULT}\n", "", "host.no-result"),
        (0, f"{HELLO}\n{RESULT[:-4]}\n", "", "host.no-result"),
    ],
)
def test_without_one_result_the_cause_is_named(
    module: ModuleType, code: int, output: str, errors: str, expected: str
) -> None:
    found = module.read_result(code, output, errors)
    assert found["outcome"] == "failed"
    failure = found["failures"][0]
    assert failure["code"] == expected
    assert failure["remedy"]
    assert failure["evidence"] in {errors, f"it printed nothing and ended with {code}"}


def test_noise_around_the_result_is_no_obstacle(module: ModuleType) -> None:
    noise = 'Welcome\n{"type": 5}\n{"a": 1}\n{broken\n'
    assert module.read_result(0, f"{noise}{HELLO}\n{RESULT}\n", "mesg: not a tty")["outcome"] == "done"


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    """The real program, as the inventory names it."""
    program, loader = tmp_path / "p.pyz", tmp_path / "loader"
    built = build_program()
    program.write_bytes(built.data)
    loader.write_bytes(b"'loader'\n")
    return {"path": program, "loader": loader, "command": ["python3"], "sha256": built.sha256}


def test_what_the_program_decides_leaves_nothing_in_ansible_s_process(
    module: ModuleType, described: dict[str, Any]
) -> None:
    """Ansible's process is that of all plays and hosts: one program must not be another's."""
    path, modules = list(sys.path), set(sys.modules)
    request = encode(Request("agent", VERSION, node_ip="10.0.0.21"))
    found = module.Program(described).decide("needs", request=request, facts=encode(fresh()), wanted={})
    assert found == {"member": False, "wants_token": False, "lacks": []}
    assert (sys.path, set(sys.modules)) == (path, modules)


def test_documents_that_the_program_does_not_take_are_named(module: ModuleType, described: dict[str, Any]) -> None:
    with pytest.raises(AnsibleActionFail, match=r"\[.+\]; seen: .*modus"):
        module.Program(described).decide("needs", request={"modus": 1}, facts={}, wanted={})


def test_a_program_that_does_not_run_here_is_named(module: ModuleType, described: dict[str, Any]) -> None:
    described["path"].write_bytes(b"no archive")
    other = {**described, "sha256": hashlib.sha256(b"no archive").hexdigest()}
    with pytest.raises(AnsibleActionFail, match=r"does not run on this computer \[ansible.program\]; seen: .*; next: "):
        module.Program(other).decide("needs", request={}, facts={}, wanted={})


def test_a_program_that_is_another_one_is_refused(module: ModuleType, tmp_path: Path) -> None:
    program, loader = tmp_path / "p.pyz", tmp_path / "loader"
    program.write_bytes(b"program")
    loader.write_bytes(b"'loader'\n")
    digest = hashlib.sha256(b"program").hexdigest()
    described = {"path": program, "loader": loader, "command": ["python3"], "sha256": digest}
    assert module.Program(described).input(module.Run(("facts",))).startswith(b"'loader'\n{")
    with pytest.raises(AnsibleActionFail, match=r"not the one that the inventory names \[ansible.program\].*pk3s inv"):
        module.Program({**described, "sha256": "0" * 64})
    loader.unlink()
    with pytest.raises(AnsibleActionFail, match=r"is not here \[ansible.program\]; seen: .*loader: No such file"):
        module.Program(described)
