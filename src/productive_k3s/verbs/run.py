"""One verb from its flags to its result: what went wrong on the way is part of the result."""

from __future__ import annotations

import argparse
from typing import Dict

from productive_k3s.contract.events import Outcome, Result
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import ContractError, system_failure
from productive_k3s.doors.host import Host

_OUTCOMES: Dict[int, Outcome] = {
    ExitCode.REFUSED: "refused",
    ExitCode.LOCKED: "locked",
    ExitCode.INTERRUPTED: "interrupted",
}


async def run(host: Host, flags: argparse.Namespace) -> Result:
    """Run the verb of parsed flags. A ContractError and what the system refuses (OSError) become the result."""
    try:
        result: Result = await flags.function(host, flags)
    except ContractError as error:
        return Result(_OUTCOMES.get(error.failure.exit_code, "failed"), failures=(error.failure,))
    except OSError as error:
        failure = system_failure(error)
        return Result(_OUTCOMES.get(failure.exit_code, "failed"), failures=(failure,))
    return result
