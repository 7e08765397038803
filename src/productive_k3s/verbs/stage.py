"""`stage`: artefacts on standard input, kept for a later run."""

from __future__ import annotations

import re
from typing import Optional, Sequence

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import Failure, bad_input
from productive_k3s.doors.host import Host
from productive_k3s.effects.lock import take_lock
from productive_k3s.effects.stage import Incoming, stage

_DIGEST = re.compile(r"[0-9a-f]{64}")


async def run(host: Host, files: Sequence[Incoming]) -> Result:
    """Keep what comes for a later `server` or `agent` run; `data` has how many bytes came, by path."""
    unfit = tuple(failure for failure in map(_unfit, files) if failure is not None)
    if unfit:
        return Result("failed", failures=unfit)
    failure = await take_lock(host)
    if failure is not None:
        return Result("locked", failures=(failure,))
    found = await stage(host, files)
    return Result("done" if found.is_new else "unchanged", notes=found.notes, data=found.written)


def _unfit(file: Incoming) -> Optional[Failure]:
    if "/" in file.name or not file.name or file.name.startswith("."):
        what, evidence, remedy = "an artifact's name is not a file name", file.name, "use the asset's name"
    elif not _DIGEST.fullmatch(file.sha256):
        what, evidence = "an artifact's checksum is not SHA-256", file.sha256
        remedy = "write the 64 hex digits of the release's checksum file"
    else:
        return None
    return bad_input("request.artifact", what, evidence, remedy)
