"""One verb from its flags to its result: what went wrong on the way is part of the result."""

from __future__ import annotations

import argparse
import errno
from typing import Dict, Tuple

from productive_k3s.events import Outcome, Result
from productive_k3s.failure import ContractError, Failure
from productive_k3s.host import Host

_OUTCOMES: Dict[int, Outcome] = {4: "refused", 7: "locked", 130: "interrupted"}
_FULL = ("host.disk-full", "there is no space left on the host", "free some space there, then run it again")
_NO_RIGHT = ("host.no-permission", "the host does not let this program do its work", "run it as root")
_SYSTEM: Dict[int, Tuple[str, str, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: (
        "host.read-only",
        "a file system of the host is read-only",
        "see the host's log for why it was mounted so, and mount it writable",
    ),
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
}
_OTHER = ("host.system-error", "the host's system refused what had to be done", "see the path, and the host's log")


async def run(host: Host, flags: argparse.Namespace) -> Result:
    """Run the verb of parsed flags. A ContractError and what the system refuses (OSError) become the result."""
    try:
        result: Result = await flags.function(host, flags)
    except ContractError as error:
        return Result(_OUTCOMES.get(error.failure.exit_code, "failed"), failures=(error.failure,))
    except OSError as error:
        return Result("failed", failures=(system_failure(error),))
    return result


def system_failure(error: OSError) -> Failure:
    """PURE: return what an errno of the host's system means for a person."""
    code, what, remedy = _SYSTEM.get(error.errno or 0, _OTHER)
    where = f"{error.filename}: " if error.filename else ""
    return Failure(code, what, f"{where}{error.strerror or error}", remedy)
