"""What the sets of machines share on this computer: networks, names of bridges, the firewall, the kernel's settings.

Everything here happens under one lock of this computer, because sets of other roots share the same things.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from productive_k3s_infra import _process
from productive_k3s_infra.errors import Refused
from productive_k3s_infra.providers.local import firewall, network, sysctl
from productive_k3s_infra.providers.local.lock import hold
from productive_k3s_infra.providers.local.model import (
    MachineRecord,
    MachineRequest,
    SetRecord,
    choose_number,
    choose_octet,
)
from productive_k3s_infra.providers.local.store import SetFolder, known_records, load_record, save_record

# Loaded by this computer, because machines have no modules; those built into the kernel are there anyway.
_MODULES = ("overlay", "br_netfilter", "nf_conntrack", "vxlan", "ip_set", "xt_set")
_WHAT = "networks of this computer"


def enter(folder: SetFolder, requests: Sequence[MachineRequest], image: Path) -> SetRecord:
    """Write down a set and its new machines before anything is made, so that all that is made can be found again."""
    with hold(_lock(), _WHAT):
        record = load_record(folder)
        if record is None:
            used = frozenset(other.number for other in known_records(folder.root))
            record = SetRecord(folder.name, choose_number(network.taken_networks(), used))
        for request in requests:
            record = with_machine(record, request, image)
        save_record(folder, record)
        _prepare(folder, record)
    return record


def with_machine(record: SetRecord, request: MachineRequest, image: Path) -> SetRecord:
    """Add a machine to a record unless it is in it; refused when it is, and was made from another request."""
    existing = record.find(request.name)
    if existing is None:
        new = MachineRecord(request, choose_octet(record), uuid.uuid4().hex, str(image))
        return replace(record, machines=(*record.machines, new))
    if existing.request != request:
        raise Refused(
            "the machine exists, and was created from another request",
            where=f"machine {request.name} of {record.name}",
            evidence=f"it was {existing.request}, now {request}",
            remedy="destroy it first, or request its current values",
            code="local.machine-differs",
        )
    return record


def ensure(folder: SetFolder, record: SetRecord) -> None:
    """Make what a set's machines stand on, for example after this computer was restarted."""
    with hold(_lock(), _WHAT):
        _prepare(folder, record)


def clear(folder: SetFolder, record: SetRecord) -> None:
    """Take away what a set stood on and then its folder; after the last set of this computer its settings are put back.

    The record goes last: as long as it is there, an interrupted attempt knows what to take away.
    """
    with hold(_lock(), _WHAT):
        firewall.remove_rules(folder.path)
        network.remove_links(folder.path, record.bridge)
        if not network.any_bridge_left():
            sysctl.restore()
            _lock().unlink()
            sysctl.RUN.rmdir()
        if folder.path.exists():
            for path in (*folder.path.iterdir(),):
                path.unlink()
            folder.path.rmdir()


def _lock() -> Path:
    return sysctl.RUN / "lock"


def _prepare(folder: SetFolder, record: SetRecord) -> None:
    if Path("/lib/modules", os.uname().release).is_dir():
        for module in _MODULES:
            _process.run(("modprobe", "--quiet", module), check=False)
    sysctl.save_and_raise()
    network.ensure_bridge(record, folder.path)
    firewall.ensure_rule(record.bridge, folder.path)
