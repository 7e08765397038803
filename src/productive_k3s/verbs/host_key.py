"""`host-key`: this host's own SSH host key instead of one that others may have read.

For a machine that was made with a key given to it. Two steps, so that whoever drives this knows the new key before it
is in use: a run that is cut off between them leaves a host whose key is known either way.
"""

from __future__ import annotations

from typing import Optional, Tuple

from productive_k3s.contract.events import Result
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.effects.lock import take_lock
from productive_k3s.facts.selinux import label_for

KEY = "/etc/ssh/ssh_host_ed25519_key"
PREPARED = f"{KEY}.productive-k3s"
# Debian and Ubuntu call it ssh, others sshd.
UNITS = ("ssh.service", "sshd.service")
_SECONDS = 30.0
_NEXT = "look at the SSH server of this host, then run it again"


async def run(host: Host, *, rotate: bool) -> Result:
    """Make a key (once), or put it into use; `data` has its public half. Open connections stay as they are."""
    failure = await take_lock(host)
    if failure is not None:
        return Result("locked", failures=(failure,))
    public = await _prepared(host)
    if public is None:
        public = await _make(host)
    elif not rotate:
        return Result("unchanged", data={"public": public})
    if not rotate:
        return Result("done", data={"public": public})
    host.require_going_on()
    # The private half first: without it the public one says nothing.
    for source, target, mode in ((PREPARED, KEY, 0o600), (f"{PREPARED}.pub", f"{KEY}.pub", 0o644)):
        await host.system.adopt(source, target, mode, label=await label_for(host.system, target))
    notes = await _reload(host)
    return Result("done", notes=notes, data={"public": public})


async def _prepared(host: Host) -> Optional[str]:
    if await host.system.stat(PREPARED) is None:
        return None
    return await _public(host, f"{PREPARED}.pub")


async def _public(host: Host, path: str) -> Optional[str]:
    words = (await host.system.read(path) or b"").decode(errors="replace").split()
    return " ".join(words[:2]) if len(words) >= 2 and words[0] == "ssh-ed25519" else None


async def _make(host: Host) -> str:
    for path in (PREPARED, f"{PREPARED}.pub"):
        await host.system.remove(path)
    await _run(host, ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", PREPARED))
    public = await _public(host, f"{PREPARED}.pub")
    if public is None:
        raise ContractError(Failure("host-key.failed", "ssh-keygen made no ed25519 key", PREPARED, _NEXT))
    return public


async def _reload(host: Host) -> Tuple[str, ...]:
    """Let the SSH server read its keys again. One that is started by its socket reads them at its next start."""
    for unit in UNITS:
        shown = await host.system.run(("systemctl", "is-active", unit), timeout=_SECONDS)
        if shown.stdout.strip() == "active":
            await _run(host, ("systemctl", "reload", unit))
            return (f"{unit} uses the new host key",)
    return ("no SSH server runs; the next one uses the new host key",)


async def _run(host: Host, argv: Tuple[str, ...]) -> None:
    done = await host.system.run(argv, timeout=_SECONDS)
    if done.returncode == 0:
        return
    said = " ".join((done.stderr or done.stdout).split())
    raise ContractError(Failure("host-key.failed", f"{' '.join(argv[:2])} failed", said or str(done.returncode), _NEXT))
