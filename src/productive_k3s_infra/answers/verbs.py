"""PURE: the documents of the verbs that look at what is here: versions, pages, journals, logs, one's own kubeconfig."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from productive_k3s_infra.answers.looks import (
    ExplainAnswer,
    ExplainedPart,
    LogsAnswer,
    RunPart,
    RunsAnswer,
    RunStepPart,
    VersionAnswer,
)
from productive_k3s_infra.answers.model import (
    KubeconfigAnswer,
)

# Documents are made of what verbs return; making them loads no verb.
if TYPE_CHECKING:
    from productive_k3s_infra.operations.explain import Explained
    from productive_k3s_infra.operations.kubeconfig_merge import Merged
    from productive_k3s_infra.operations.logs import Logs
    from productive_k3s_infra.operations.run_timeline import Run
    from productive_k3s_infra.operations.version import Versions


def version_answer(found: Versions) -> VersionAnswer:
    """Return the document of `pk3s version`."""
    return VersionAnswer(exit_code=0, pk3s=found.pk3s, k3s=found.k3s, python=found.python, program=found.program)


def explain_answer(found: Explained) -> ExplainAnswer:
    """Return the document of `pk3s explain`."""
    entries = tuple(ExplainedPart(**vars(entry)) for entry in found.entries)
    return ExplainAnswer(exit_code=0, name=found.name, entries=entries, text=found.text)


def logs_answer(found: Logs) -> LogsAnswer:
    """Return the document of `pk3s logs`."""
    return LogsAnswer(exit_code=0, node=found.node, units=found.units, notes=found.notes)


def merged_answer(done: Merged) -> KubeconfigAnswer:
    """Return the document of `pk3s kubeconfig --merge` and `--unmerge`."""
    return KubeconfigAnswer(
        exit_code=0,
        path=str(done.path),
        context=done.context,
        changed=done.changed,
        current=done.current,
        backup=str(done.backup) if done.backup is not None else None,
    )


def runs_answer(runs: tuple[Run, ...]) -> RunsAnswer:
    """Return the document of `pk3s runs`."""
    return RunsAnswer(exit_code=0, runs=tuple(map(_run, runs)))


def _run(run: Run) -> RunPart:
    return RunPart(
        id=run.id,
        verb=run.verb,
        cluster=run.cluster,
        started=run.started,
        seconds=run.seconds,
        exit_code=run.exit_code,
        steps=tuple(RunStepPart(**asdict(step)) for step in run.steps),
        looks=run.looks,
        failures=run.failures,
        critical_path=tuple(step.id for step in run.critical_path),
    )
