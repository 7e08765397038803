"""The files of K3s: written as they are rendered, each at once the old one or the new one."""

from __future__ import annotations

from productive_k3s.contract.change import Change
from productive_k3s.contract.failure import ContractError, refused
from productive_k3s.contract.request import Request
from productive_k3s.contract.secret import Secret
from productive_k3s.effects import service
from productive_k3s.effects.hosts import write_block
from productive_k3s.effects.task import Task
from productive_k3s.facts.selinux import label_for
from productive_k3s.k3s import hosts_file, paths
from productive_k3s.k3s.token import parse_token


async def write_file(task: Task, change: Change) -> None:
    wanted = next((file for file in task.desired.files if file.path == change.target), None)
    if wanted is None:
        raise TypeError(f"no file is rendered for {change.target}")
    await task.host.system.write(wanted.path, wanted.text.encode(), wanted.mode)
    if wanted.path == paths.unit_file(task.request.unit) and _is_loaded(task):
        await service.systemctl(task.host.system, "daemon-reload")


def _is_loaded(task: Task) -> bool:
    """Whether systemd held the unit before this run, and so has to be told of another text.

    One that it did not hold needs no reload here, whatever comes next, in this run or after a kill: what starts the
    unit asks systemd first whether it has what lies on disk, and a unit that it does not hold is read then. That
    question alone is not enough for a unit that is held: systemd compares the times of the files that it read, so it
    misses a file of higher precedence, or one written after the clock was set back.
    """
    unit = task.effective.unit
    return unit is not None and unit.load_state != "not-found"


async def remove_file(task: Task, change: Change) -> None:
    await task.host.system.remove(change.target)
    folder = change.target.rpartition("/")[0]
    if folder.startswith(f"{paths.STAGED}/"):
        await task.host.system.remove(folder)


async def write_hosts(task: Task, change: Change) -> None:
    await write_block(task.host.system, change.target, hosts_file.lines(task.request.hosts_file))


async def write_secret(task: Task, change: Change) -> None:
    """Write a token file. A server's tokens are those its cluster has already, else new ones; never changed later."""
    joins = task.request.join is not None and not task.effective.is_member
    if task.request.role == "agent" or joins:
        token = _given_token(task.request, change.target)
    else:
        source = paths.CLUSTER_SERVER_TOKEN if change.target == paths.SERVER_TOKEN else paths.CLUSTER_AGENT_TOKEN
        existing = await task.host.system.read(source)
        # A first server takes the short form only (docs.k3s.io, cli/token).
        token = parse_token(existing.decode()).password if existing else task.new_token()
    await task.host.system.write(change.target, f"{token.unmask().strip()}\n".encode(), 0o600)


def _given_token(request: Request, path: str) -> Secret:
    join = request.join
    given = join.token if join is not None else None
    if join is not None and request.role == "server" and path == paths.AGENT_TOKEN:
        given = join.agent_token
    if given is None:
        what = f"{path} needs a token, and none was given"
        raise ContractError(refused("k3s.no-token", what, remedy="give the cluster's token"))
    return given


async def make_links(task: Task, change: Change) -> None:
    # As the install script does it: a command that PATH has already is left alone.
    for path in change.target.split():
        if await task.host.system.stat(path) is None:
            await task.host.system.link("k3s", path)


async def set_label(task: Task, change: Change) -> None:
    label = await label_for(task.host.system, change.target)
    if label:
        await task.host.system.set_label(change.target, label)
