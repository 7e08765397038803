"""Install the stub for a test, and tell it how to behave."""

from __future__ import annotations

import json
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multipass_stub.program import execute
from multipass_stub.state import Instance, opened
from productive_k3s.contract.secret import Secret
from productive_k3s_infra._process import ProcessResult

TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Stub:
    """A folder with the stub's state; `bin` goes to the front of the PATH, `program` is the command itself."""

    folder: Path

    def run(
        self,
        argv: tuple[str, ...],
        *,
        input: str | bytes | Secret | None = None,  # noqa: A002 - as in _process.run
        timeout_seconds: float = 60,
        check: bool = True,
    ) -> ProcessResult:
        """Do what a process of the program would do, in this one: what `_process.run` is to everybody else."""
        del timeout_seconds
        assert not check
        given = input.unmask() if isinstance(input, Secret) else ""
        return ProcessResult(argv, *execute(self.folder, list(argv[1:]), lambda: given))

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def program(self) -> Path:
        return self.bin / "multipass"

    def set(self, **values: Any) -> None:
        """Change fields of the state: version, faults, fixed, with_machines."""
        with opened(self.folder) as state:
            for name, value in values.items():
                assert hasattr(state, name), name
                setattr(state, name, value)

    def put(self, name: str, state: str = "Running", **more: Any) -> None:
        """Let an instance be there that somebody else has made; nothing stands behind it."""
        fields: dict[str, Any] = {
            "cpus": 1,
            "memory": 1 << 30,
            "disk": 5 << 30,
            "image": "24.04",
            "image_hash": "f" * 64,
        }
        with opened(self.folder) as stub:
            stub.instances[name] = Instance(state=state, **{**fields, **more})

    def change(self, name: str, **values: Any) -> None:
        """Change an instance behind everybody's back."""
        with opened(self.folder) as state:
            for key, value in values.items():
                setattr(state.instances[name], key, value)

    @property
    def instances(self) -> dict[str, Instance]:
        """What is there now."""
        with opened(self.folder) as state:
            return state.instances

    @property
    def calls(self) -> list[list[str]]:
        """Every argument vector so far, in order."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def called(self, command: str) -> list[list[str]]:
        """The calls of one sub-command, without its name."""
        return [words[1:] for words in self.calls if words[0] == command]


def install(folder: Path) -> Stub:
    """Put the stub into a folder of its own."""
    stub = Stub(folder)
    stub.bin.mkdir(parents=True)
    paths = [str(TESTS), str(TESTS.parent / "src"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    lines = [
        # Without site: what its start costs is paid a hundred times.
        f"#!{sys.executable} -IS",
        "import sys",
        f"sys.path[:0] = {paths!r}",
        "from multipass_stub.program import main",
        f"sys.exit(main([{str(folder)!r}, *sys.argv[1:]]))",
    ]
    stub.program.write_text("\n".join(lines) + "\n")
    stub.program.chmod(0o755)
    return stub
