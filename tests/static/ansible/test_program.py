"""What the collection makes of the program's file and of what comes back, without Ansible around it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ansible.errors import AnsibleActionFail

from ansible_bed import COLLECTION

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
    assert failure["evidence"] in {errors, f"it said nothing and ended with {code}"}


def test_noise_around_the_result_is_no_obstacle(module: ModuleType) -> None:
    noise = 'Welcome\n{"type": 5}\n{"a": 1}\n{broken\n'
    assert module.read_result(0, f"{noise}{HELLO}\n{RESULT}\n", "mesg: not a tty")["outcome"] == "done"


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
