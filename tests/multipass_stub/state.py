"""What the stub's daemon knows, in one file under a lock: instances, images, faults; and every call that was made."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Instance:
    """One instance. `ipv4` is what `list` shows without a machine; `machine` False: nothing stands behind it."""

    state: str
    cpus: int
    memory: int
    disk: int
    image: str
    image_hash: str
    ipv4: list[str] = field(default_factory=list)
    machine: bool = False
    host_key: str = ""


@dataclass
class State:
    """Everything. A fault is the number of times that it happens; `fixed` faults happen always."""

    version: str = "1.15.1"
    daemon_version: str = "1.15.1"
    with_machines: bool = False
    faults: dict[str, int] = field(default_factory=dict)
    fixed: list[str] = field(default_factory=list)
    instances: dict[str, Instance] = field(default_factory=dict)
    launches: int = 0

    def takes(self, fault: str) -> bool:
        """Say whether a fault happens now; one that is counted happens once less from now on."""
        if fault in self.fixed:
            return True
        left = self.faults.get(fault, 0)
        if left:
            self.faults[fault] = left - 1
        return left > 0


@contextmanager
def opened(folder: Path) -> Iterator[State]:
    """Give the state, and write it back; one at a time. An exception keeps the change: it is how commands end."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "state.json"
        document = json.loads(path.read_text()) if path.exists() else {}
        instances = {name: Instance(**one) for name, one in document.pop("instances", {}).items()}
        state = State(**document, instances=instances)
        try:
            yield state
        finally:
            path.write_text(json.dumps(asdict(state), indent=1))


def note_call(folder: Path, argv: list[str]) -> None:
    """Write down a call."""
    with (folder / "calls.jsonl").open("a") as file:
        file.write(json.dumps(argv) + "\n")
