"""What SELinux makes of a file's name, and of the label that it has."""

from __future__ import annotations

from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.system import Reading

_ENFORCE = "/sys/fs/selinux/enforce"
# What the policy says of a path that it leaves alone (matchpathcon(8)).
_NONE = "<<none>>"


async def label_for(system: Reading, path: str) -> str:
    """Return the label that the policy gives a file of this path; '' where SELinux is off or has none for it.

    Where it is enforcing and cannot be asked that is a ContractError: a binary with the label of its folder starts K3s
    outside the domain that its policy is written for.
    """
    enforce = await system.read(_ENFORCE)
    if enforce is None:
        return ""
    done = await system.ask("selinux-label", path)
    label = done.stdout.strip()
    if done.returncode == 0:
        return "" if label == _NONE else label
    if enforce.strip() != b"1":
        return ""
    raise ContractError(
        Failure(
            "host.selinux-label",
            f"SELinux is enforcing, and the label for {path} cannot be determined",
            " ".join(done.stderr.split()) or f"matchpathcon exited with {done.returncode}",
            "install matchpathcon (package libselinux-utils, on Debian selinux-utils), then run it again",
        )
    )


async def wrong_label(system: Reading, path: str) -> str:
    """Return the type that a file is labelled with where the policy says another one, '' where nothing is wrong.

    User, role and level are not compared, as restorecon(8) leaves them alone too.
    """
    found = _type(await system.label(path))
    if not found:
        return ""
    try:
        wanted = _type(await label_for(system, path))
    except ContractError:
        # It is told to whoever is about to label something; that it is not known is no finding.
        return ""
    return found if wanted and found != wanted else ""


def _type(label: str) -> str:
    parts = label.split(":")
    return parts[2] if len(parts) > 2 else ""
