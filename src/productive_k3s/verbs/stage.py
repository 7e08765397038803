"""`stage`: artefacts on standard input, one after the other; each is verified, and only then given its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

from productive_k3s.contract.events import Outcome, Result
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.effects.lock import take_lock
from productive_k3s.k3s import paths

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Incoming:
    """A file that comes on standard input; without a size it is all that comes."""

    sha256: str
    name: str
    size: Optional[int] = None

    @property
    def path(self) -> str:
        """Where it is kept."""
        return paths.staged(self.sha256, self.name)


async def run(host: Host, files: Sequence[Incoming]) -> Result:
    """Keep what comes for a later `server` or `agent` run; once is enough.

    A failure at one file leaves those before it staged, and of that one nothing.
    """
    unfit = [failure for failure in map(_unfit, files) if failure is not None]
    if unfit:
        return Result("failed", failures=tuple(unfit))
    failure_to_lock = await take_lock(host)
    if failure_to_lock is not None:
        return Result("locked", failures=(failure_to_lock,))
    written: Dict[str, int] = {}
    notes: List[str] = []
    outcome: Outcome = "unchanged"
    unread = 0
    for file in files:
        if await host.system.sha256(file.path) == file.sha256:
            unread += file.size or 0
            written.setdefault(file.path, 0)
            notes.append(f"{file.path} is here already")
            continue
        host.require_going_on()
        await host.system.skip(unread, going_on=host.require_going_on)
        unread = 0
        written[file.path] = await _receive(host, file)
        notes.append(f"{file.path}, {written[file.path]} bytes")
        outcome = "done"
    return Result(outcome, notes=tuple(notes), data=written)


def _unfit(file: Incoming) -> Optional[Failure]:
    if "/" in file.name or not file.name or file.name.startswith("."):
        return Failure("request.artifact", "an artefact's name is no file name", file.name, "use the asset's name", 2)
    if not _DIGEST.fullmatch(file.sha256):
        remedy = "write the 64 hex digits of the release's checksum file"
        return Failure("request.artifact", "an artefact's checksum is no SHA-256", file.sha256, remedy, 2)
    return None


async def _receive(host: Host, file: Incoming) -> int:
    folder = file.path.rpartition("/")[0]
    await host.system.make_directory(folder, 0o755)
    try:
        going_on = host.require_going_on
        return await host.system.receive(file.path, file.sha256, 0o644, file.size, going_on=going_on)
    except (ContractError, OSError):
        # The folders that were made for it; one that holds other files stays.
        for path in (folder, paths.STAGED, paths.PROGRAM_DIRECTORY):
            if not await host.system.list_directory(path):
                await host.system.remove(path)
        raise
