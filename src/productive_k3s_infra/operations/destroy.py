"""`pk3s destroy`: machines that pk3s made go; hosts that it did not make stay, without K3s."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s_infra.errors import NotAgreed, Refused
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import as_failure
from productive_k3s_infra.execute.steps.machines import ProviderCalls
from productive_k3s_infra.execute.steps.perform import performing
from productive_k3s_infra.execute.steps.tokens import TokenSource
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.operations.destroyed import Destroyed, destroyed, what_dies
from productive_k3s_infra.operations.journaled import journaled
from productive_k3s_infra.operations.observe import look_at_leaving, with_leaving
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.teardown import plan_teardown
from productive_k3s_infra.workspace.record import forget_record, read_record


async def destroy(session: Session) -> Destroyed:
    """Take the cluster away: name what dies, ask for the cluster's name, then do it, agents before the servers.

    A host is touched only if it belongs to the recorded cluster; raises Refused, having changed nothing, if one does
    not. What was not reached is named with the way to clean it, and cluster.lock is kept for that.
    """
    with journaled(session, "destroy") as reporter:
        # One that is not understood is said before anything goes.
        record = read_record(session.workspace.folder, session.spec.name)
        survey = await survey_of(session)
        inventory = inventory_of(session, survey)
        situation = Situation(session.spec, inventory, {}, record=record, survey=survey)
        async with fleet_of(session, with_leaving(session, inventory)) as fleet:
            if not survey.owns_machines:
                situation = await _with_hosts(session, situation, fleet)
            plan = plan_teardown(situation)
            reporter.planned(plan)
            _require_agreed(session, plan, situation)
            tools = Tools(fleet, ProviderCalls(session.provider), TokenSource(fleet, inventory.founder.name))
            results = await execute(plan.steps, performing(tools), reporter)
        ended = destroyed(situation, plan, results)
        reporter.ended(ended.exit_code, gone=list(ended.gone))
        if ended.is_whole:
            _forget(session)
        return ended


async def _with_hosts(session: Session, situation: Situation, fleet: Fleet) -> Situation:
    observed = await gather(situation.inventory, fleet, session.interaction)
    unreached = {name: as_failure(error) for name, error in observed.unreachable.items()}
    leaving = await look_at_leaving(session, situation.inventory, situation.record, fleet)
    return replace(situation, facts=observed.facts, unreached=unreached, leaving=leaving)


def _require_agreed(session: Session, plan: Plan, situation: Situation) -> None:
    """Raise Refused or NotAgreed unless the plan may be executed. Where it is empty nobody is asked."""
    if plan.refusals:
        first = plan.refusals[0]
        others = (f"{item.host}: {item.failure.what} ({item.failure.evidence})" for item in plan.refusals[1:])
        raise Refused(
            f"{first.failure.what}, so nothing was destroyed",
            where=first.host,
            evidence="; ".join((first.failure.evidence, *others)),
            remedy=first.failure.remedy,
            code=first.failure.code,
        )
    if plan.steps and not session.interaction.agree_to_destroy(session.spec.name, what_dies(plan, situation)):
        raise NotAgreed(
            "nothing was destroyed", remedy="type the cluster's name, or use --yes where no question can be asked"
        )


def _forget(session: Session) -> None:
    """The cluster is gone: its record, kubeconfig and inventory describe nothing any more. Journals stay."""
    forget_record(session.workspace.folder, session.spec.name)
    for path in (session.workspace.kubeconfig, session.workspace.inventory):
        path.unlink(missing_ok=True)
