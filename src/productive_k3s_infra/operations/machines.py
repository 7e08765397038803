"""The stage of the machines in `pk3s apply`: what shall be made anew goes in order, then what is missing is made."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import failed
from productive_k3s_infra.execute.steps.perform import performing
from productive_k3s_infra.operations.agreement import covers, require_agreed
from productive_k3s_infra.operations.apply_run import ApplyRun
from productive_k3s_infra.plan.model import Refusal
from productive_k3s_infra.plan.step import Step


async def make_machines(run: ApplyRun) -> None:
    """Have the plan of all stages agreed to once, make machines, and look again: now their hosts can be asked.

    Where machines need nothing, or the plan is refused, nothing happens here.
    """
    steps = run.plan.of_stage("machines")
    if not steps or run.plan.refusals:
        return
    if not covers(run.agreed, run.plan):
        require_agreed(run.session, run.plan, run.options.prune)
    run.agreed = run.plan
    run.reporter.planned(run.plan, then=run.then)
    run.results = await execute(steps, performing(run.tools()), run.reporter)
    if failed(run.results):
        run.over = True
        return
    await run.observe()
    left = run.plan.of_stage("machines")
    if left:
        run.plan = replace(run.plan, refusals=(*run.plan.refusals, *(_unsettled(step) for step in left)))


def _unsettled(step: Step) -> Refusal:
    remedy = "someone else is working on these machines: wait until they have finished, then run pk3s apply again"
    what = "the machine changed while machines were being created"
    return Refusal(step.host, Failure("machine.changed-meanwhile", what, step.reason, remedy, 4))
