"""Sets of machines on this computer: the API of the provider. Everything here is blocking; call it from a thread.

A set is the machines of one cluster. Every function can be called again after any interruption: what was begun is
finished or removed. What runs is never remembered, always looked at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from productive_k3s_infra.errors import BadInput, ProviderFailed, Refused
from productive_k3s_infra.providers.local import ground, power, prepare
from productive_k3s_infra.providers.local.cgroup import Cgroups, detect, group_name
from productive_k3s_infra.providers.local.image import ensure_image
from productive_k3s_infra.providers.local.leftovers import leftovers, supervisors_of
from productive_k3s_infra.providers.local.lock import hold
from productive_k3s_infra.providers.local.model import (
    Machine,
    MachineRecord,
    MachineRequest,
    MachineState,
    SetRecord,
    require_public_key,
    require_requests,
    require_root_folder,
    require_set_name,
)
from productive_k3s_infra.providers.local.store import (
    DEFAULT_ROOT,
    MachineFolder,
    SetFolder,
    known_records,
    load_record,
    save_record,
)

__all__ = ["Machine", "MachineRequest", "create", "destroy", "gateway_address", "leftovers", "power_off", "start"]
__all__ += ["stop", "survey"]

OnProgress = Callable[[str, str], None]
"""Called with a machine's name (or nothing) and what is happening to it; from several threads."""
_AT_ONCE = 8


@dataclass(frozen=True)
class _Bench:
    """One set, locked, with all that is needed to work on its machines."""

    folder: SetFolder
    record: SetRecord
    cgroups: Cgroups

    def group(self, name: str) -> str:
        return group_name(self.folder.path, name)

    def files(self, machine: MachineRecord) -> MachineFolder:
        return self.folder.machine(machine.request.name)


def create(
    set_name: str,
    requests: Sequence[MachineRequest],
    authorized_key: str,
    *,
    root: Path = DEFAULT_ROOT,
    image: Path | None = None,
    on_progress: OnProgress = lambda _machine, _what: None,
    before_start: Callable[[MachineFolder], None] = lambda _folder: None,
) -> tuple[Machine, ...]:
    """Make the requested machines exist, run and answer on SSH, and return them in the order of the requests.

    A machine that runs is returned unchanged, one that was stopped is started with its disk, one that was begun and cut
    off is made anew. Refused when a machine exists that was requested differently. `image` is the root file system to
    start from, otherwise Debian 12, built when it is not there yet. `before_start` is given the folder of each machine
    that is about to be started: what it puts there, no machine that runs has ever been without.
    """
    require_set_name(set_name)
    require_requests(tuple(requests))
    require_public_key(authorized_key)
    _require_root()
    require_root_folder(root)
    image = image or ensure_image(on_progress=lambda line: on_progress("", line))
    with _locked(set_name, root, on_progress) as folder:
        bench = _Bench(folder, ground.enter(folder, requests, image), detect())
        wanted = [machine for request in requests if (machine := bench.record.find(request.name))]

        def bring_up(machine: MachineRecord) -> None:
            _bring_up(bench, machine, authorized_key, on_progress, before_start)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tuple(pool.map(bring_up, wanted))
        _spread_names(bench)
        return tuple(_look(bench, machine) for machine in wanted)


def survey(set_name: str, *, root: Path = DEFAULT_ROOT) -> tuple[Machine, ...]:
    """Look at the machines of a set; empty when there is no such set. Changes nothing and waits for nobody."""
    require_set_name(set_name)
    _require_root()
    folder = SetFolder(root, set_name)
    record = load_record(folder)
    if record is None:
        return ()
    bench = _Bench(folder, record, detect())
    return tuple(_look(bench, machine) for machine in record.machines)


def sets(*, root: Path = DEFAULT_ROOT) -> tuple[str, ...]:
    """List the names of all sets."""
    _require_root()
    return tuple(record.name for record in known_records(root))


def gateway_address(set_name: str, *, root: Path = DEFAULT_ROOT) -> str:
    """Return the address by which the set's machines reach this computer."""
    _require_root()
    return str(_require_record(SetFolder(root, set_name)).gateway)


def stop(set_name: str, names: Sequence[str] | None = None, *, root: Path = DEFAULT_ROOT) -> None:
    """Shut machines down in order (all of the set without `names`); they keep their disks."""
    _switch_off(set_name, names, root, power.request_stop)


def power_off(set_name: str, names: Sequence[str] | None = None, *, root: Path = DEFAULT_ROOT) -> None:
    """Pull the plug: nothing in the machines gets to do anything more; they keep their disks."""
    _switch_off(set_name, names, root, power.kill)


def start(set_name: str, names: Sequence[str] | None = None, *, root: Path = DEFAULT_ROOT) -> tuple[Machine, ...]:
    """Start stopped machines with the disks they had, and wait until they answer on SSH."""
    _require_root()
    with _locked(set_name, root) as folder:
        bench = _Bench(folder, _require_record(folder), detect())
        chosen = _choose(bench.record, names)
        ground.ensure(folder, bench.record)

        def switch_on(machine: MachineRecord) -> None:
            if not bench.files(machine).prepared.exists():
                raise ProviderFailed(
                    "the machine was never finished", where=f"machine {machine.request.name}", remedy="create it again"
                )
            _run(bench, machine)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tuple(pool.map(switch_on, chosen))
        return tuple(_look(bench, machine) for machine in chosen)


def destroy(
    set_name: str,
    names: Sequence[str] | None = None,
    *,
    root: Path = DEFAULT_ROOT,
    on_progress: OnProgress = lambda _machine, _what: None,
) -> None:
    """Destroy machines and all that is on their disks; no error for one that does not exist.

    Without `names`, or with the last machine, the set goes: bridge, control groups, files; with the last set of this
    computer the kernel's settings are put back. Raises ProviderFailed naming what could not be removed.
    """
    require_set_name(set_name)
    _require_root()
    with _locked(set_name, root, on_progress) as folder:
        record = load_record(folder) or SetRecord(set_name, -1)
        bench = _Bench(folder, record, detect())
        doomed = [machine for machine in record.machines if names is None or machine.request.name in names]

        def remove(machine: MachineRecord) -> None:
            _remove(bench, machine.request.name)
            on_progress(machine.request.name, "destroyed")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tuple(pool.map(remove, doomed))
        kept = tuple(machine for machine in record.machines if machine not in doomed)
        if kept:
            save_record(folder, replace(record, machines=kept))
            _spread_names(replace(bench, record=replace(record, machines=kept)))
        else:
            _remove_set(bench)


@contextmanager
def _locked(set_name: str, root: Path, on_progress: OnProgress = lambda _machine, _what: None) -> Iterator[SetFolder]:
    folder = SetFolder(root, set_name)
    with hold(folder.lock, f"the machines of {set_name}", on_wait=lambda line: on_progress("", line)):
        try:
            yield folder
        finally:
            if not folder.path.exists():
                folder.lock.unlink(missing_ok=True)


def _bring_up(
    bench: _Bench,
    machine: MachineRecord,
    authorized_key: str,
    on_progress: OnProgress,
    before_start: Callable[[MachineFolder], None],
) -> None:
    name, files = machine.request.name, bench.files(machine)
    if not files.prepared.exists():
        on_progress(name, "making its file system")
        power.kill(bench.cgroups, bench.group(name))
        prepare.prepare(bench.record, machine, files, authorized_key)
    if power.find_init(bench.cgroups, bench.group(name)) is None:
        on_progress(name, "starting")
    _run(bench, machine, before_start)
    on_progress(name, f"answers on {bench.record.address(machine)}")


def _run(
    bench: _Bench, machine: MachineRecord, before_start: Callable[[MachineFolder], None] = lambda _folder: None
) -> None:
    name, files = machine.request.name, bench.files(machine)
    group = bench.group(name)
    if power.find_init(bench.cgroups, group) is None:
        power.kill(bench.cgroups, group)
        prepare.ensure_mounted(machine, files)
        prepare.write_hosts(bench.record, machine, files)
        before_start(files)
        files.log.unlink(missing_ok=True)
        bench.cgroups.start(group, power.nspawn_argv(bench.record, machine, files), files.log)
    address = str(bench.record.address(machine))
    power.wait_until_ssh_answers(
        bench.cgroups, group, address, machine.request.ssh_port, files.log, timeout_seconds=power.START_SECONDS
    )


def _switch_off(set_name: str, names: Sequence[str] | None, root: Path, how: Callable[[Cgroups, str], None]) -> None:
    _require_root()
    with _locked(set_name, root) as folder:
        bench = _Bench(folder, _require_record(folder), detect())

        def switch_off(machine: MachineRecord) -> None:
            how(bench.cgroups, bench.group(machine.request.name))
            prepare.unmount(bench.files(machine))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tuple(pool.map(switch_off, _choose(bench.record, names)))


def _remove(bench: _Bench, name: str) -> None:
    power.kill(bench.cgroups, bench.group(name))
    prepare.remove_files(bench.folder.machine(name))


def _remove_set(bench: _Bench) -> None:
    folder = bench.folder
    for path in folder.path.iterdir() if folder.path.exists() else ():
        if path.is_dir():
            _remove(bench, path.name)
    power.wait_until(lambda: bench.cgroups.remove(group_name(folder.path)), power.STOP_SECONDS)
    ground.clear(folder, bench.record)
    left: tuple[str, ...] = ()

    def nothing_is_left() -> bool:
        nonlocal left
        left = leftovers(folder.name, root=folder.root, cgroups=bench.cgroups)
        return not left

    # The kernel gives a loop device back a moment after its last mount has gone.
    if not power.wait_until(nothing_is_left, power.STOP_SECONDS):
        raise ProviderFailed(
            "not everything of the machines could be removed",
            where=f"set {folder.name}",
            evidence=", ".join(left),
            remedy="destroy the set again; if that does not help, remove what is listed manually",
            code="local.leftovers",
        )


def _spread_names(bench: _Bench) -> None:
    for machine in bench.record.machines:
        files = bench.files(machine)
        if files.prepared.exists() and files.root.is_mount():
            prepare.write_hosts(bench.record, machine, files)


def _look(bench: _Bench, machine: MachineRecord) -> Machine:
    files, request = bench.files(machine), machine.request
    try:
        host_key = " ".join(files.public_host_key.read_text().split()[:2])
    except FileNotFoundError:
        host_key = ""
    return Machine(
        set=bench.record.name,
        name=request.name,
        address=str(bench.record.address(machine)),
        bridge=bench.record.bridge,
        host_key=host_key,
        state=_state(bench, machine),
        ssh_port=request.ssh_port,
    )


def _state(bench: _Bench, machine: MachineRecord) -> MachineState:
    group = bench.group(machine.request.name)
    if not bench.files(machine).prepared.exists():
        return "broken"
    if power.find_init(bench.cgroups, group) is not None:
        return "running"
    supervised = bool(supervisors_of(bench.files(machine).path))
    return "broken" if supervised or bench.cgroups.processes(group) else "stopped"


def _choose(record: SetRecord, names: Sequence[str] | None) -> tuple[MachineRecord, ...]:
    if names is None:
        return record.machines
    unknown = [name for name in names if record.find(name) is None]
    if unknown:
        raise BadInput(
            f"there is no machine {unknown[0]} in {record.name}",
            evidence=f"it has {', '.join(machine.request.name for machine in record.machines)}",
        )
    return tuple(machine for machine in record.machines if machine.request.name in names)


def _require_record(folder: SetFolder) -> SetRecord:
    record = load_record(folder)
    if record is None:
        raise BadInput(f"there is no set of machines {folder.name}", where=str(folder.root), remedy="create it first")
    return record


def _require_root() -> None:
    if sys.platform != "linux":
        raise Refused(
            "machines of the provider local need Linux with systemd",
            evidence=f"this computer runs {sys.platform}",
            remedy="set spec.provider.kind to multipass, or run pk3s on Linux",
            code="local.system",
        )
    if os.geteuid() != 0:
        raise Refused(
            "only root can create machines on this computer", remedy="run it as root (sudo)", code="local.root"
        )
