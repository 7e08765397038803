"""The program: arguments in, hello, events and one result out, and an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import List, Mapping, Optional, Sequence

from productive_k3s.cli import parser
from productive_k3s.contract.events import Outcome, Result
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s.doors.host import Host, run_to_end
from productive_k3s.doors.kube import Kube
from productive_k3s.doors.local import LocalSystem
from productive_k3s.output import FactsOutput, KubeconfigOutput, Output, TextOutput, WireOutput
from productive_k3s.verbs.run import run

_EXIT_CODES: Mapping[Outcome, ExitCode] = {
    "done": ExitCode.DONE,
    "unchanged": ExitCode.DONE,
    "planned": ExitCode.DONE,
    "refused": ExitCode.REFUSED,
    "locked": ExitCode.LOCKED,
    "interrupted": ExitCode.INTERRUPTED,
}


class _Stop:
    """Remembers the first signal; the second one breaks the run off, as nobody wants to wait twice."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._signals: List[str] = []

    def watch(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            # nohup(1) has a program ignore SIGHUP that shall outlive its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._heard)

    def _heard(self, number: int, _: Optional[FrameType]) -> None:
        if self._signals:
            raise KeyboardInterrupt
        self._signals.append(signal.Signals(number).name)

    def broken_off(self) -> Result:
        """Return how a run ends that did not come to its end: what is whole and what not, the next look says."""
        failure = Failure(
            "run.broken-off",
            "the run was interrupted during a change",
            f"a second signal, after {self._signals[0] if self._signals else 'none'}",
            "run it again: it checks the current state and continues from there",
            ExitCode.INTERRUPTED,
        )
        return Result("interrupted", failures=(failure,))

    def asked(self) -> str:
        if self._signals:
            # Whoever drives the program sets an alarm for the call's deadline.
            return {"SIGALRM": "the deadline of the call has passed"}.get(self._signals[0], self._signals[0])
        return "the reader of the output is gone" if self._output.gone else ""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one verb and return its exit code."""
    flags = parser().parse_args(arguments)
    for_people = {"facts": FactsOutput, "kubeconfig": KubeconfigOutput}.get(flags.verb, TextOutput)
    output: Output = WireOutput(sys.stdout) if flags.json else for_people(sys.stdout)
    stop = _Stop(output)
    stop.watch()
    try:
        output.hello()
        host = Host(system=LocalSystem(), kube=_kube, emit=output.event, stop_asked=stop.asked)
        result = run_to_end(run(host, flags))
    except KeyboardInterrupt:
        result = stop.broken_off()
    try:
        output.result(result)
    except KeyboardInterrupt:  # whoever reads is stuck as well: how it ended is left to the exit code
        return exit_code(stop.broken_off())
    pending = result.outcome == "planned" and result.changes and getattr(flags, "exit_code", False)
    return ExitCode.PENDING if pending else exit_code(result)


def _kube(kubeconfig: str) -> Kube:
    """Open the API; what speaks HTTP and TLS is loaded only where there is something to say."""
    from productive_k3s.doors.kube_http import HttpKube

    return HttpKube(kubeconfig)


def exit_code(result: Result) -> int:
    """PURE: return the exit code of a result."""
    if result.outcome != "failed":
        return _EXIT_CODES[result.outcome]
    if result.failures:
        return result.failures[0].exit_code
    return ExitCode.INVALID if result.checks else ExitCode.BUG


if __name__ == "__main__":
    sys.exit(main())
