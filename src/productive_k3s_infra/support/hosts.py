"""What hosts that answer say of themselves: facts, versions, logs."""

from __future__ import annotations

import asyncio
import platform
import secrets
from typing import Any

from productive_k3s import __version__
from productive_k3s.contract.codec import encode
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.redaction import redact
from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.hosts.fleet.gathering import failed
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.inventory.observed import Observed
from productive_k3s_infra.support import texts
from productive_k3s_infra.support.bundle import Collection

_LOG_LINES = 2000
_LOG_SECONDS = 60.0


async def add_hosts(inventory: Inventory, observed: Observed, fleet: Fleet, found: Collection) -> None:
    """Add facts and logs of every host that answers; note which do not."""
    _add_facts(observed, found)
    names = sorted(observed.facts)
    for name, logs in zip(names, await asyncio.gather(*(_logs(fleet, name) for name in names)), strict=True):
        if isinstance(logs, Pk3sError):
            found.lack(f"logs of {name}", logs)
            continue
        for unit, text in logs.items():
            found.add(f"hosts/{name}/{unit}.log", redact(text, found.secrets), f"the last lines of {unit}")
    absent = [host.name for host in inventory.hosts if host.assumed]
    found.missing.extend(f"hosts/{name}: its machine does not exist" for name in absent)


def _add_facts(observed: Observed, found: Collection) -> None:
    versions: dict[str, Any] = {
        "pk3s": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "hosts": {name: _versions(facts) for name, facts in sorted(observed.facts.items())},
    }
    found.add_document("versions.json", versions, "versions here and on the hosts")
    salt = secrets.token_hex(16)
    for name, facts in sorted(observed.facts.items()):
        said = texts.salted(encode(facts), salt)
        found.add_document(f"hosts/{name}/facts.json", said, "its facts; digests are comparable in this bundle only")
    for name, error in sorted(observed.unreachable.items()):
        found.lack(f"hosts/{name}", error)


def _versions(facts: Facts) -> dict[str, str]:
    host, k3s = facts.host, facts.k3s
    said = {"os": host.os.pretty_name, "kernel": host.os.kernel, "arch": host.os.arch, "python": host.python}
    return {**said, "k3s": k3s.binary_version, "installed by": k3s.installed_by, "program": facts.program}


async def _logs(fleet: Fleet, name: str) -> dict[str, str] | Pk3sError:
    try:
        host = await fleet.session(name)
        result = await host.call("logs", arguments=("--lines", str(_LOG_LINES)), deadline_seconds=_LOG_SECONDS)
    except Pk3sError as error:
        return error
    if result.outcome != "done":
        return failed(name, result)
    return {str(unit): str(text) for unit, text in (result.data or {}).items()}
