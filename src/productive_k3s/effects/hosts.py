"""The effect on /etc/hosts: the block of names goes in or out, and the file keeps all else, its owner and its mode."""

from __future__ import annotations

import posixpath
from typing import Sequence

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.system import System
from productive_k3s.facts.hosts import LIMIT_BYTES
from productive_k3s.facts.selinux import label_for
from productive_k3s.k3s.hosts_file import with_block

_MODE = 0o644


async def write_block(system: System, path: str, wanted: Sequence[str]) -> None:
    """Put these lines between the marks, or with none take the marks away; at any moment the file is old or new."""
    there = await system.stat(path)
    if there is not None and there.kind == "link":
        path = posixpath.join(posixpath.dirname(path), there.link)
        there = await system.stat(path)
    data = await system.read(path, LIMIT_BYTES) or b""
    if there is not None and there.size != len(data):
        raise ContractError(
            Failure(
                "host.hosts-file",
                f"{path} could not be read completely, so it was not changed",
                f"{len(data)} of {there.size} bytes",
                "make it smaller, or leave hostsFile out",
            )
        )
    # What is no UTF-8 in somebody else's line comes out as it went in.
    before = data.decode(errors="surrogateescape")
    after = with_block(before, wanted)
    if after != before:
        mode, owner = (there.mode, (there.uid, there.gid)) if there is not None else (_MODE, None)
        label = await label_for(system, path)
        await system.write(path, after.encode(errors="surrogateescape"), mode, owner=owner, label=label)
