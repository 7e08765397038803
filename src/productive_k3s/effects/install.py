"""Change -> effect through the doors, then a second look. Every effect can be killed and done again."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass, replace
from typing import Awaitable, Callable, Dict, Mapping, Optional

from productive_k3s import __version__
from productive_k3s.contract.change import Change
from productive_k3s.contract.codec import encode
from productive_k3s.contract.facts import Digests, Facts
from productive_k3s.contract.failure import ContractError, Failure, system_failure
from productive_k3s.contract.request import Artifact, Request
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import Host, ReadingHost
from productive_k3s.doors.system import Stat, System
from productive_k3s.effects import service
from productive_k3s.effects.hosts import write_block
from productive_k3s.facts import unit_state
from productive_k3s.facts.k3s import k3s_facts
from productive_k3s.facts.start import large_files
from productive_k3s.facts.units import ask_systemd
from productive_k3s.k3s import hosts_file, paths
from productive_k3s.plan import render
from productive_k3s.plan.changes import label_differences
from productive_k3s.plan.compare import own_unit
from productive_k3s.waits.ready import wait_until_ready

_COPY_SECONDS = 300.0
_SAY_SECONDS = 2.0
_SELINUX_SECONDS = 30.0

# Makes the secret of a new token; a parameter so that runs can be repeated in tests.
NewToken = Callable[[], Secret]
GatherFacts = Callable[[ReadingHost], Awaitable[Facts]]


@dataclass(frozen=True)
class Task:
    """One run on one host: what is asked, what was found, and where randomness and fresh facts come from."""

    host: Host
    request: Request
    facts: Facts
    new_token: NewToken
    gather: GatherFacts


async def apply_change(task: Task, change: Change) -> None:
    """Do one change and look whether it is done; what does not work is a ContractError."""
    try:
        await _EFFECTS[change.action](task, change)
    except OSError as error:
        failure = system_failure(error)
        raise ContractError(replace(failure, what=f"{change.target}: {failure.what}")) from error


async def _install_binary(task: Task, change: Change) -> None:
    binary = task.request.binary
    if binary is None:
        raise ContractError(_no_artifact("k3s"))
    await _place(task, binary, change.target, 0o755)
    if task.facts.host.selinux:
        await task.host.system.run(("restorecon", "-v", change.target), timeout=_SELINUX_SECONDS)


async def _install_images(task: Task, change: Change) -> None:
    image = next((item for item in task.request.images if change.target.endswith(f"/{item.name}")), None)
    if image is None:
        raise ContractError(_no_artifact(change.target))
    await task.host.system.make_directory(paths.IMAGES, 0o755)
    await _place(task, image, change.target, 0o644)


async def _place(task: Task, artifact: Artifact, target: str, mode: int) -> None:
    """Put an artefact in place, verified before it gets its name: from where it was staged, a file here, or a URL."""
    system = task.host.system
    staged = paths.staged(artifact.sha256, artifact.name)
    there = await system.stat(staged)
    if there is not None:
        await _verify_staged(task.host, staged, artifact.sha256)
        if not (_may_move(task.facts, there) and await _move(task.host, staged, target, mode)):
            await _copy(task.host, staged, target, artifact.sha256, mode)
        await system.remove(staged)
        await system.remove(f"{paths.STAGED}/{artifact.sha256}")
    elif artifact.url is not None and artifact.url.startswith("file://"):
        await _copy(task.host, artifact.url[len("file://") :], target, artifact.sha256, mode)
    elif artifact.url is not None:
        limit, variables = task.request.deadlines.download, render.variables(task.request)
        await system.download(artifact.url, target, artifact.sha256, mode, limit, environment=variables)
    else:
        raise ContractError(_no_artifact(artifact.name))


def _no_artifact(name: str) -> Failure:
    return Failure(
        "artifact.missing",
        f"{name} is not on this host, and the request does not say where it can be had",
        remedy="name a release (--artifacts), or stage it first (productive-k3s stage)",
    )


async def _verify_staged(host: Host, staged: str, sha256: str) -> None:
    """Look once more at what was verified when it came: it may lie there since long."""
    found = await host.system.sha256(staged)
    if found == sha256:
        return
    # Facts take its folder's name for its digest: as long as it lies there, nobody stages it again.
    await host.system.remove(staged)
    await host.system.remove(staged.rpartition("/")[0])
    raise ContractError(
        Failure(
            "artifact.checksum",
            f"{staged} changed after it was staged, and was removed",
            f"sha256 is {found}, expected {sha256}",
            "stage it again (pk3s does so in its next run); if that does not help, look at the host's disk",
        )
    )


def _may_move(facts: Facts, staged: Stat) -> bool:
    """PURE: whether the staged file itself may become the installed one.

    A moved file keeps its owner, who could change it after it was verified, and its SELinux label. That one would be
    put right only after the rename: a kill between the two would leave a label that nobody looks at again.
    """
    return staged.kind == "file" and (staged.uid, staged.gid) == (0, 0) and not facts.host.selinux


async def _move(host: Host, staged: str, target: str, mode: int) -> bool:
    """Rename into place what was verified; False, and nothing is moved, if the target is on another file system.

    It was synced when it came, and is the old file or the new one at any moment: under its new name, or still staged.
    """
    await host.system.make_directory(target.rpartition("/")[0], 0o755)
    await host.system.run(("chmod", f"{mode:o}", staged), timeout=_COPY_SECONDS)
    try:
        await host.system.rename(staged, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


async def _copy(host: Host, source: str, target: str, sha256: str, mode: int) -> None:
    """Copy beside the target, verify, rename: the target is the old file or the whole new one."""
    partial = f"{target}.partial"
    await host.system.make_directory(target.rpartition("/")[0], 0o755)
    copied = await host.system.run(("cp", "--reflink=auto", source, partial), timeout=_COPY_SECONDS)
    found = await host.system.sha256(partial) if copied.returncode == 0 else None
    if found != sha256:
        await host.system.remove(partial)
        full = "No space left" in copied.stderr
        raise ContractError(
            Failure(
                "host.disk-full" if full else "artifact.checksum",
                f"{source} could not be copied whole",
                copied.stderr.strip() or f"sha256 is {found}, expected {sha256}",
                "make room, then run it again" if full else "get the artefact again",
            )
        )
    await host.system.run(("chmod", f"{mode:o}", partial), timeout=_COPY_SECONDS)
    await host.system.rename(partial, target)


async def _write_file(task: Task, change: Change) -> None:
    wanted = next((file for file in render.files(task.request, task.facts) if file.path == change.target), None)
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
    unit = own_unit(task.request, task.facts)
    return unit is not None and unit.load_state != "not-found"


async def _remove_file(task: Task, change: Change) -> None:
    await task.host.system.remove(change.target)
    folder = change.target.rpartition("/")[0]
    if folder.startswith(f"{paths.STAGED}/"):
        await task.host.system.remove(folder)


async def _write_hosts(task: Task, change: Change) -> None:
    await write_block(task.host.system, change.target, hosts_file.lines(task.request.hosts_file))


async def _write_secret(task: Task, change: Change) -> None:
    """Write a token file. A server's tokens are those its cluster has already, else new ones; never changed later."""
    if task.request.role == "agent" or task.request.join is not None:
        token = _given_token(task.request, change.target)
    else:
        source = paths.CLUSTER_SERVER_TOKEN if change.target == paths.SERVER_TOKEN else paths.CLUSTER_AGENT_TOKEN
        existing = await task.host.system.read(source)
        token = Secret(_password(existing.decode())) if existing else task.new_token()
    await task.host.system.write(change.target, f"{token.unmask().strip()}\n".encode(), 0o600)


def _given_token(request: Request, path: str) -> Secret:
    join = request.join
    given = join.token if join is not None else None
    if join is not None and request.role == "server" and path == paths.AGENT_TOKEN:
        given = join.agent_token
    if given is None:
        what = f"{path} is to be written, and no token was given"
        raise ContractError(Failure("k3s.no-token", what, remedy="give the cluster's token", exit_code=4))
    return given


def _password(token: str) -> str:
    """Return the password of a token in its secure form: a first server takes the short form only (docs, cli/token)."""
    return token.strip().rpartition("::")[2].rpartition(":")[2]


async def _make_links(task: Task, change: Change) -> None:
    # As the install script does it: a command that PATH has already is left alone.
    for path in change.target.split():
        if await task.host.system.stat(path) is None:
            await task.host.system.link("k3s", path)


async def _enable_unit(task: Task, change: Change) -> None:
    await service.systemctl(task.host.system, "enable", change.target)


async def _start_unit(task: Task, change: Change) -> None:
    await _run_unit(task, "start", change.target, change.id)


async def _restart_unit(task: Task, change: Change) -> None:
    await _run_unit(task, "restart", change.target, change.id)


async def _run_unit(task: Task, verb: str, unit: str, change: str) -> None:
    """Start without blocking, then note with which files: the unit has a new invocation id by then."""
    host = task.host
    before = await unit_state.state(host.system, unit)
    if before.needs_reload:
        await service.systemctl(host.system, "daemon-reload")
    if before.active == "failed":
        # systemd refuses to start a unit that failed too often in a short time.
        await service.systemctl(host.system, "reset-failed", unit)
    await _begin(host.system, verb, unit, is_known=before.is_known)
    said = began = await host.system.monotonic()
    while (state := await unit_state.state(host.system, unit)).invocation_id in ("", before.invocation_id):
        now = await host.system.monotonic()
        if now - began >= task.request.deadlines.start:
            raise ContractError(_never_started(unit, str(state)))
        if now - said >= _SAY_SECONDS:
            host.emit("waiting", f"systemd has not begun to {verb} {unit} yet: {state}", change)
            said = now
            # Its turn comes whether this program waits for it or not.
            host.require_going_on()
        await host.system.sleep(0.1)
    await record_start(task, unit)


async def _begin(system: System, verb: str, unit: str, *, is_known: bool) -> None:
    """Ask systemd to start; a unit that it did not know it reads then (before version 247 only after a reload)."""
    try:
        await service.systemctl(system, verb, "--no-block", unit)
    except ContractError:
        if is_known:
            raise
        await service.systemctl(system, "daemon-reload")
        await service.systemctl(system, verb, "--no-block", unit)


def _never_started(unit: str, state: str) -> Failure:
    return Failure(
        "k3s.start-timeout",
        f"systemd did not start {unit}",
        state,
        f"see systemctl list-jobs and journalctl -u {unit} on the host",
    )


async def record_start(task: Task, unit: str) -> None:
    """Note what the unit's running process was started with, for the facts of later runs."""
    system = task.host.system
    now = await system.now()
    # Of this host's K3s only: the machine is the same, and its cluster cannot answer yet.
    k3s = await k3s_facts(system, await ask_systemd(system))
    found = next((item for item in k3s.units if item.name.split(".")[0] == unit), None)
    if found is None or k3s.on_disk is None:
        return
    document = running_record(found.invocation_id, k3s.on_disk)
    document["large_files"] = large_files(k3s, now)
    await system.make_directory(paths.RUN_DIRECTORY, 0o755)
    await system.write(paths.running_record(unit), json.dumps(document).encode(), 0o600)


def running_record(invocation_id: str, digests: Digests) -> Dict[str, object]:
    """PURE: the record that facts read back (`facts.model.Running`)."""
    return {"schema": 1, "program": __version__, "invocation_id": invocation_id, "digests": encode(digests)}


async def _wait_ready(task: Task, change: Change) -> None:
    state = await unit_state.state(task.host.system, task.request.unit)
    started = await _started(task, state.invocation_id)
    node = render.node_name(task.request, task.facts)
    await wait_until_ready(task.host, task.request, node, started, change.id)


async def _started(task: Task, invocation_id: str) -> float:
    """Return when the unit was started (Unix seconds): the run record's age, else what the first facts said."""
    unit = next((item for item in task.facts.k3s.units if item.name.split(".")[0] == task.request.unit), None)
    if unit is not None and unit.invocation_id == invocation_id and unit.started:
        return unit.started
    record = await task.host.system.stat(paths.running_record(task.request.unit))
    return min(record.changed, await task.host.system.now()) if record is not None else 0.0


async def _label_node(task: Task, change: Change) -> None:
    facts = await task.gather(task.host)
    labels: Dict[str, Optional[str]] = label_differences(task.request, facts)
    if labels:
        await task.host.kube(paths.ADMIN_KUBECONFIG).label_node(change.target, labels)


_EFFECTS: Mapping[str, Callable[[Task, Change], Awaitable[None]]] = {
    "install-binary": _install_binary,
    "install-images": _install_images,
    "write-file": _write_file,
    "write-secret": _write_secret,
    "write-hosts": _write_hosts,
    "remove-hosts": _write_hosts,
    "make-links": _make_links,
    "remove-file": _remove_file,
    "enable-unit": _enable_unit,
    "start-unit": _start_unit,
    "restart-unit": _restart_unit,
    "wait-ready": _wait_ready,
    "label-node": _label_node,
}
