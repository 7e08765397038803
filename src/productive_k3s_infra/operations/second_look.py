"""What could not be planned while no server of the cluster answered, planned and done once one does."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import failed
from productive_k3s_infra.execute.steps.perform import performing
from productive_k3s_infra.operations.apply_run import ApplyRun
from productive_k3s_infra.operations.recording import RecordingListener
from productive_k3s_infra.plan.marks import counted
from productive_k3s_infra.plan.servers import has_members, live_server
from productive_k3s_infra.plan.step import LabelNode


async def look_again(run: ApplyRun) -> None:
    """Set the labels and taints that only the cluster's API knows; nothing happens where it had been asked before.

    They interrupt nothing, and the file says them: nobody is asked once more. All else that is found now is left to
    the next run, and said.
    """
    before, planned = run.seen.situation, run.plan
    valid = run.report is None or run.report.passed
    if not valid or live_server(before) is not None or not has_members(before):
        return
    await run.observe()
    found = run.plan.of_stage("cluster")
    if run.options.limit:
        found = tuple(step for step in found if step.subject in run.options.limit)
    labels = tuple(replace(step, needs=()) for step in found if isinstance(step, LabelNode))
    results = await execute(labels, performing(run.tools()), RecordingListener(run))
    run.results = (*run.results, *results)
    run.plan = replace(planned, steps=(*planned.steps, *labels))
    run.over = bool(failed(results))
    if live_server(run.seen.situation) is None:
        run.trouble(_STILL_SILENT)
    elif left := tuple(step.id for step in found if not isinstance(step, LabelNode)):
        run.trouble(_more(left))


_STILL_SILENT = Failure(
    "plan.not-compared",
    "labels and taints were not compared, because no server of the cluster answers",
    remedy="pk3s apply, once pk3s status shows a server whose API answers",
)


def _more(steps: tuple[str, ...]) -> Failure:
    return Failure(
        "plan.more-steps",
        f"now that the cluster answers, {counted(len(steps), 'step')} more would be needed to match the file",
        evidence=", ".join(steps),
        remedy="review them with pk3s plan, then run pk3s apply again",
    )
