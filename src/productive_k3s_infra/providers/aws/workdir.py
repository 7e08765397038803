"""OpenTofu's working folder of one cluster: `.pk3s/<cluster>/tofu`. It can be used by hand, too."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.workspace.directory import AREA, Workspace, make_private, open_workspace

_MODULE = "aws-nodes"
_RUN = "run-"


@dataclass(frozen=True)
class WorkFolder:
    """The folder and its files. A plan holds seeded host keys: all of it is this user's alone."""

    workspace: Workspace

    @property
    def path(self) -> Path:
        return self.workspace.path / "tofu"

    @property
    def variables(self) -> Path:
        return self.path / "terraform.tfvars.json"

    @contextmanager
    def secret_variables(self, values: Mapping[str, Any]) -> Iterator[Path]:
        """Give a file of this run's own with these values for the block."""
        path = self.path / f"{_RUN}{os.getpid()}.tfvars.json"
        write_json(path, values)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @property
    def seeds(self) -> Path:
        """Host keys that machines were made with and still have."""
        return self.path / "seeds.json"

    @property
    def _identity(self) -> Path:
        """The mark of this cluster's objects, and whether an apply is under way."""
        return self.path / "identity.json"

    def identity(self) -> str:
        """Return the mark of this cluster's objects; a new one is remembered when something is applied."""
        return str(dict(read_json(self._identity)).get("id") or uuid.uuid4().hex)

    def was_cut_off(self) -> bool:
        """Whether an apply has begun here and not ended."""
        return bool(dict(read_json(self._identity)).get("applying"))

    def begin(self, identity: str) -> None:
        """Remember that an apply begins, and the mark of what it makes: OpenTofu itself writes only now and then."""
        write_json(self._identity, {"id": identity, "applying": True})

    def ended(self, identity: str) -> None:
        """Remember that everything is written down."""
        write_json(self._identity, {"id": identity, "applying": False})

    @property
    def plan(self) -> Path:
        """The plan of this run; another run that looks at the same time has its own."""
        return self.path / f"{_RUN}{os.getpid()}.tfplan"

    @property
    def _ready(self) -> Path:
        return self.path / ".ready"

    def write(self, root: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        """Write the root module, a copy of the module that it uses, and the values."""
        open_workspace(self.workspace.cluster_file, self.workspace.cluster)
        with explained(self.path, AREA):
            make_private(self.path)
            self._sweep()
            for file in sorted(module_source().glob("*.tf")):
                target = self.path / "modules" / _MODULE / file.name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(target, file.read_bytes(), 0o600)
            replace_file(self.path / "main.tf.json", _json(root), 0o600)
            replace_file(self.variables, _json(variables), 0o600)

    def needs_init(self, program: str) -> bool:
        """Whether OpenTofu has to get ready here: the first time, and when what it needs has changed."""
        ready = self._ready
        if not (self.path / ".terraform").is_dir() or not ready.exists():
            return True
        with explained(ready, AREA):
            return ready.read_text() != self._needs(program)

    def initialised(self, program: str) -> None:
        """Remember that `init` has gone well."""
        with explained(self._ready, AREA):
            replace_file(self._ready, self._needs(program).encode(), 0o600)

    def plan_digest(self) -> str:
        """Return the digest of the plan's file, '' where there is none."""
        with explained(self.plan, AREA):
            return hashlib.sha256(self.plan.read_bytes()).hexdigest() if self.plan.exists() else ""

    def drop_plan(self) -> None:
        """Remove this run's plan."""
        self.plan.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything that describes machines which are gone; what OpenTofu has fetched stays."""
        for path in (self.variables, self.seeds, self.plan, self._identity):
            path.unlink(missing_ok=True)

    def _needs(self, program: str) -> str:
        root = json.loads((self.path / "main.tf.json").read_text())
        files = sorted((self.path / "modules").rglob("*.tf"))
        parts = [program, json.dumps(root["terraform"], sort_keys=True), *(file.read_text() for file in files)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _sweep(self) -> None:
        # A run that was killed leaves its plan behind, and a plan holds seeded keys.
        for path in self.path.glob(f"{_RUN}*"):
            pid = path.name.removeprefix(_RUN).partition(".")[0]
            if pid.isdigit() and int(pid) != os.getpid() and not Path(f"/proc/{pid}").exists() and not _lives(int(pid)):
                path.unlink(missing_ok=True)


def module_source() -> Path:
    """Return the module's folder: that of the installed package, or the repository's own."""
    packaged = Path(__file__).parent / "modules" / _MODULE
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parents[4] / "opentofu" / "modules" / _MODULE


def read_json(path: Path) -> Iterator[tuple[str, Any]]:
    """Give the entries of a JSON object in a file, none where the file is not there."""
    with explained(path, AREA), suppress(FileNotFoundError):
        yield from json.loads(path.read_text()).items()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object for this user alone; an empty one removes the file."""
    with explained(path, AREA):
        if content:
            replace_file(path, _json(content), 0o600)
        else:
            path.unlink(missing_ok=True)


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
