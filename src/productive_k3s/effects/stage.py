"""Artefacts come on standard input, one after the other; each is verified, and only then given its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.host import Host
from productive_k3s.k3s import paths


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


@dataclass(frozen=True)
class Staged:
    """How many bytes came for each path, what is to be said of it, and whether anything came at all."""

    written: Dict[str, int]
    notes: Tuple[str, ...]
    is_new: bool


async def stage(host: Host, files: Sequence[Incoming]) -> Staged:
    """Keep the files; once is enough. A failure at one leaves those before it staged, and of that one nothing."""
    written: Dict[str, int] = {}
    notes: List[str] = []
    unread, is_new = 0, False
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
        is_new = True
    return Staged(written, tuple(notes), is_new)


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
