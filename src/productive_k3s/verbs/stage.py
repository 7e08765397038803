"""`stage`: an artefact on standard input, verified, and only then given its name."""

from __future__ import annotations

from productive_k3s import paths
from productive_k3s.events import Result
from productive_k3s.failure import ContractError, Failure
from productive_k3s.host import Host
from productive_k3s.verbs.install import take_lock


async def run(host: Host, sha256: str, name: str) -> Result:
    """Keep what comes on standard input as `name` for a later `server` or `agent` run; once is enough."""
    if "/" in name or name.startswith("."):
        failure = Failure("request.artifact", "an artefact's name is no file name", name, "use the asset's name", 2)
        return Result("failed", failures=(failure,))
    failure_to_lock = await take_lock(host)
    if failure_to_lock is not None:
        return Result("locked", failures=(failure_to_lock,))
    path = paths.staged(sha256, name)
    if await host.system.sha256(path) == sha256:
        return Result("unchanged", notes=(f"{path} is here already",), data={"path": path})
    folder = path.rpartition("/")[0]
    await host.system.make_directory(folder, 0o755)
    try:
        size = await host.system.receive(path, sha256, 0o644)
    except ContractError:
        for path in (folder, paths.STAGED, paths.PROGRAM_DIRECTORY):
            if not await host.system.list_directory(path):
                await host.system.remove(path)
        raise
    return Result("done", notes=(f"{path}, {size} bytes",), data={"path": path, "bytes": size})
