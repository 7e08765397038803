"""This host's own SSH host key instead of one that others may have read."""

from __future__ import annotations

from typing import Optional, Tuple

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.doors.system import Reading
from productive_k3s.facts.selinux import label_for

KEY = "/etc/ssh/ssh_host_ed25519_key"
PREPARED = f"{KEY}.productive-k3s"
# Debian and Ubuntu call it ssh, others sshd.
UNITS = ("ssh.service", "sshd.service")
_SECONDS = 30.0
_NEXT = "check the SSH server of this host, then run it again"


async def prepared(system: Reading) -> Optional[str]:
    """Return the public half of a key that was made and is not used yet."""
    if await system.stat(PREPARED) is None:
        return None
    return await _public(system, f"{PREPARED}.pub")


async def prepare(host: Host) -> str:
    """Make a key beside the one in use; return its public half."""
    for path in (PREPARED, f"{PREPARED}.pub"):
        await host.system.remove(path)
    await _run(host, ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", PREPARED))
    public = await _public(host.system, f"{PREPARED}.pub")
    if public is None:
        raise ContractError(Failure("host-key.failed", "ssh-keygen did not create an ed25519 key", PREPARED, _NEXT))
    return public


async def use_prepared(host: Host) -> str:
    """Put the prepared key into use, and return what uses it from now on. Open connections stay as they are."""
    # The private half first: without it the public one says nothing.
    for source, target, mode in ((PREPARED, KEY, 0o600), (f"{PREPARED}.pub", f"{KEY}.pub", 0o644)):
        await host.system.adopt(source, target, mode, label=await label_for(host.system, target))
    # One that is started by its socket reads its keys at its next start.
    for unit in UNITS:
        shown = await host.system.run(("systemctl", "is-active", unit), timeout=_SECONDS)
        if shown.stdout.strip() == "active":
            await _run(host, ("systemctl", "reload", unit))
            return f"{unit} uses the new host key"
    return "no SSH server is running; the next one uses the new host key"


async def _public(system: Reading, path: str) -> Optional[str]:
    words = (await system.read(path) or b"").decode(errors="replace").split()
    return " ".join(words[:2]) if len(words) >= 2 and words[0] == "ssh-ed25519" else None


async def _run(host: Host, argv: Tuple[str, ...]) -> None:
    done = await host.system.run(argv, timeout=_SECONDS)
    if done.returncode == 0:
        return
    said = " ".join((done.stderr or done.stdout).split())
    raise ContractError(Failure("host-key.failed", f"{' '.join(argv[:2])} failed", said or str(done.returncode), _NEXT))
