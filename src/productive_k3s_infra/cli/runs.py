"""`pk3s runs`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from productive_k3s_infra.cli.options import DEFAULT_FILE, File, Format, Output, Progress, ProgressForm
from productive_k3s_infra.cli.running import finish, open_terminal, say_result

if TYPE_CHECKING:
    from productive_k3s_infra.operations.run_timeline import Run

Which = Annotated[str | None, typer.Argument(metavar="[ID]", help="The id of a run, the beginning of it, or last.")]
_BAR = 16


def runs(
    which: Which = None,
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
) -> None:
    """List the runs of this cluster, or show the timeline of one: its steps, waits and critical path.

    Examples: `pk3s runs`, `pk3s runs last`, `pk3s runs last -o json`.
    """
    from productive_k3s_infra.answers.verbs import runs_answer
    from productive_k3s_infra.operations.runs import get_run, list_runs
    from productive_k3s_infra.operations.session import open_session

    def run() -> int:
        workspace = open_session(file, os.environ, open_terminal(assume_yes=False, quiet=True)).workspace
        if which is not None:
            one = get_run(workspace, which)
            return say_result(runs_answer((one,)), run_lines(one))
        found = list_runs(workspace)
        return say_result(runs_answer(found), runs_lines(found))

    finish(run)


def runs_lines(found: tuple[Run, ...]) -> Iterator[str]:
    """PURE: one line a run, the newest last."""
    from productive_k3s_infra.cli.show import table

    if not found:
        yield "There are no journals of runs here yet."
        return
    rows = [
        (run.id, run.verb or "-", f"{run.seconds:.1f} s", str(len(run.steps)), _result(run))
        if run.verb
        else (run.id, "-", "-", "-", "its journal cannot be read")
        for run in found
    ]
    yield from table(("ID", "VERB", "TOOK", "STEPS", "ENDED"), rows)


def run_lines(run: Run) -> Iterator[str]:
    """PURE: the steps of one run in time, as wide as 80 columns hold. A star marks those of the critical path."""
    from productive_k3s_infra.cli.show import table

    yield f"{run.verb} of {run.cluster}, {run.started}: {run.seconds:.1f} s, {_result(run)}"
    if run.looks:
        yield f"looks: {', '.join(f'{what} {seconds:.1f} s' for what, seconds in run.looks)}"
    if run.failures:
        yield f"failed: {', '.join(run.failures)}"
    if not run.steps:
        return
    numbers = {step.id: str(number) for number, step in enumerate(run.steps, 1)}
    rows = [
        (
            f"{'*' if step.is_critical else ' '}{numbers[step.id]:>3}",
            step.id,
            step.outcome if not step.failure else f"{step.outcome} [{step.failure}]",
            f"{step.began:.1f}",
            f"{step.seconds:.1f}",
            _bar(step.began, step.seconds, run.seconds),
            numbers.get(step.waited_for, step.waited_for) or "-",
        )
        for step in run.steps
    ]
    yield from table(("  NO", "STEP", "OUTCOME", "BEGAN", "TOOK", "IN TIME", "AFTER"), rows)
    path = run.critical_path
    if path:
        took = sum(step.seconds for step in path)
        yield f"critical path: {' -> '.join(step.id for step in path)}: {took:.1f} of {run.seconds:.1f} s"


def _result(run: Run) -> str:
    if run.exit_code is None:
        return "its journal does not show how it ended: it is still running, or was killed"
    return "succeeded" if run.exit_code == 0 else f"exited with {run.exit_code}"


def _bar(began: float, seconds: float, total: float) -> str:
    if total <= 0:
        return "." * _BAR
    start = min(_BAR - 1, int(began / total * _BAR))
    end = min(_BAR, max(start + 1, round((began + seconds) / total * _BAR)))
    return "." * start + "#" * (end - start) + "." * (_BAR - end)
