"""`logs`: what the units of K3s said last, without secrets; writes nothing."""

from __future__ import annotations

from typing import Optional

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import ContractError, bad_input
from productive_k3s.contract.redaction import redact
from productive_k3s.doors.host import Host
from productive_k3s.facts.known_secrets import known_secrets
from productive_k3s.facts.units import ask_systemd, read_units

MOST_LINES = 20_000


async def run(host: Host, lines: int, since: Optional[int] = None) -> Result:
    """Return the last lines of each unit's journal by the unit's name; one that cannot be read is a note.

    `since` leaves out what was said before: a Unix time, or a negative number of seconds before this host's now.
    """
    if not 1 <= lines <= MOST_LINES:
        raise ContractError(
            bad_input("request.flag", f"--lines needs 1 to {MOST_LINES}", str(lines), "ask for fewer lines")
        )
    if since is not None and since < 0:
        since = max(0, int(await host.system.now()) + since)
    units = await read_units(host.system, await ask_systemd(host.system))
    secrets = await known_secrets(host.system, units)
    said, notes = {}, []
    for unit in units:
        name = unit.fact.name
        unit_name = f"{name}.service"
        if since is None:
            done = await host.system.ask("unit-log", unit_name, str(lines))
        else:
            done = await host.system.ask("unit-log-since", unit_name, str(since), str(lines))
        if done.returncode != 0:
            notes.append(f"the journal of {name} cannot be read: {' '.join(done.stderr.split())}")
        said[name] = redact(done.stdout, secrets)
    return Result("done", notes=tuple(notes), data=said)
