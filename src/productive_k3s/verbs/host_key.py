"""`host-key`: this host's own SSH host key instead of one that others may have read.

For a machine that was made with a key given to it. Two steps, so that whoever drives this knows the new key before it
is in use: a run that is cut off between them leaves a host whose key is known either way.
"""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s.doors.host import Host
from productive_k3s.effects import host_key
from productive_k3s.effects.lock import take_lock


async def run(host: Host, *, rotate: bool) -> Result:
    """Make a key (once), or put it into use; `data` has its public half. Open connections stay as they are."""
    failure = await take_lock(host)
    if failure is not None:
        return Result("locked", failures=(failure,))
    public = await host_key.prepared(host.system)
    if public is None:
        public = await host_key.prepare(host)
    elif not rotate:
        return Result("unchanged", data={"public": public})
    if not rotate:
        return Result("done", data={"public": public})
    host.require_going_on()
    return Result("done", notes=(await host_key.use_prepared(host),), data={"public": public})
