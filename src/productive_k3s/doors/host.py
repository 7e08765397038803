"""What every verb is given: the doors of one host, and the way to say something while it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Coroutine, Protocol, TypeVar

from productive_k3s.contract.events import EventKind
from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.kube import KubeFactory, KubeReadingFactory
from productive_k3s.doors.system import Reading, System

T = TypeVar("T")


class Emit(Protocol):
    """Says something to whoever drives the program. It never raises: a reader that went away asks to stop."""

    def __call__(self, kind: EventKind, message: str, change: str = "") -> None: ...


def _never() -> str:
    return ""


class ReadingHost(Protocol):
    """The doors of one host as whoever changes nothing has them: facts, waits, checks. Every Host is one."""

    @property
    def system(self) -> Reading: ...

    @property
    def kube(self) -> KubeReadingFactory: ...

    @property
    def emit(self) -> Emit: ...

    @property
    def stop_asked(self) -> Callable[[], str]: ...

    def require_going_on(self) -> None:
        """Raise ContractError (exit 130) if somebody asked to stop. Call it where stopping does no harm."""


@dataclass(frozen=True)
class Host:
    """The doors of one host. `stop_asked` is '' or why the program shall stop (a signal, a reader that went away)."""

    system: System
    kube: KubeFactory
    emit: Emit
    stop_asked: Callable[[], str] = _never

    def require_going_on(self) -> None:
        """Raise ContractError (exit 130) if somebody asked to stop. Call it where stopping does no harm."""
        why = self.stop_asked()
        if why:
            raise ContractError(
                Failure(
                    code="run.interrupted",
                    what="the run was interrupted between two changes",
                    evidence=why,
                    remedy="run it again: it continues where this run stopped",
                    exit_code=ExitCode.INTERRUPTED,
                )
            )


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine without an event loop: the real doors never suspend, so one step is the whole run."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a door of the real host suspended")
