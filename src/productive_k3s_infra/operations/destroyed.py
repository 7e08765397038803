"""PURE: what a destroy takes, and how it ended: what went, and what is left on which host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.step import DestroyMachine, DestroyShared, Step, UninstallHost
from productive_k3s_infra.plan.teardown import how_to_clean


@dataclass(frozen=True)
class Left:
    """What is still there: K3s on a host, a machine; why, and how it is cleaned."""

    what: str
    host: str
    failure: Failure


@dataclass(frozen=True)
class Destroyed:
    """What went, where nothing was, and what is left."""

    gone: tuple[str, ...]
    clean: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()
    results: tuple[StepResult, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 5 where something is left."""
        return ExitCode.FAILED if self.left else 0

    @property
    def is_whole(self) -> bool:
        """Whether the cluster is gone, seen on every host of it."""
        return bool(self.gone or self.clean) and not self.left


def what_dies(plan: Plan, situation: Situation) -> tuple[str, ...]:
    """Say in words what is lost."""
    return tuple(text for step in plan.steps for text in _dies(step, situation))


def _dies(step: Step, situation: Situation) -> Iterator[str]:
    if isinstance(step, DestroyMachine):
        yield f"machine {step.host}, with its disk and the volumes on it"
    elif isinstance(step, DestroyShared):
        yield from step.resources
    elif isinstance(step, UninstallHost):
        leaving = [leaving.host for leaving in situation.leaving.values()]
        address = next(host.address for host in (*situation.inventory.hosts, *leaving) if host.name == step.host)
        lost = ", and the cluster's datastore" if step.role == "server" else ""
        yield f"K3s on {step.host} ({address}), its pods and local volumes{lost}; the host stays"


def destroyed(situation: Situation, plan: Plan, results: tuple[StepResult, ...]) -> Destroyed:
    """Return how it ended. A host that was not reached keeps what is on it, whatever that is: it is never clean."""
    done = [result for result in results if result.outcome == "done"]
    empty = [result for result in done if result.result is not None and result.result.outcome == "unchanged"]
    gone = [text for result in done if result not in empty for text in _subjects(result.step)]
    left = [_left_by(result) for result in results if result.outcome != "done"]
    return Destroyed(
        gone=tuple(gone),
        clean=tuple(result.step.host for result in empty),
        left=(*left, *(_unreached(situation, item.host, item.failure) for item in plan.unreached)),
        results=results,
    )


def _subjects(step: Step) -> tuple[str, ...]:
    return step.resources if isinstance(step, DestroyShared) else (step.host,)


def _left_by(result: StepResult) -> Left:
    what = "K3s" if isinstance(result.step, UninstallHost) else "the machine"
    if isinstance(result.step, DestroyShared):
        what = "what the machines share"
    because = f"{result.skipped_for} did not succeed"
    skipped = Failure("destroy.skipped", "it was not started", because, "fix that, then run pk3s destroy again")
    return Left(what, result.step.host, result.failure or skipped)


def _unreached(situation: Situation, host: str, failure: Failure) -> Left:
    remedy = how_to_clean(situation, host)
    return Left("K3s, if it was there,", host, Failure(failure.code, failure.what, failure.evidence, remedy))
