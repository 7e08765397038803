"""`pk3s cordon | drain | uncordon NODE`: a person says whether a node takes pods. A server that answers does it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.errors import BadInput, NotAgreed, StepFailed
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import StepResult, as_failure
from productive_k3s_infra.execute.steps.machines import ProviderCalls
from productive_k3s_infra.execute.steps.perform import performing
from productive_k3s_infra.execute.steps.tokens import TokenSource
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.hosts.fleet.gathering import gather
from productive_k3s_infra.operations.journaled import journaled
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of
from productive_k3s_infra.plan.by_hand import PersonsVerb, answering, plan_by_hand, why_silent
from productive_k3s_infra.plan.requests import Situation
from productive_k3s_infra.plan.step import DRAIN_SECONDS
from productive_k3s_infra.workspace.record import read_record


@dataclass(frozen=True)
class ActedOnNode:
    """How it ended: `result` is that of the one step; `journal` is where the rest is."""

    verb: PersonsVerb
    result: StepResult
    journal: Path | None

    @property
    def exit_code(self) -> int:
        """0, or that of the failure."""
        if self.result.failure is not None:
            return self.result.failure.exit_code or ExitCode.FAILED
        return ExitCode.DONE


async def act_on_node(
    session: Session, verb: PersonsVerb, node: str, *, timeout_seconds: float = DRAIN_SECONDS
) -> ActedOnNode:
    """Cordon, drain or uncordon a node. The cordon is a person's: no apply lifts it; `uncordon` lifts any.

    Raises BadInput with the names that there are where NODE is none, StepFailed where no server of this cluster
    answers, NotAgreed where nobody agrees to a drain. A drain that does not succeed leaves the node cordoned.
    """
    with journaled(session, verb) as reporter:
        record = read_record(session.workspace.folder, session.spec.name)
        survey = await survey_of(session)
        inventory = inventory_of(session, survey)
        async with fleet_of(session, inventory) as fleet:
            seen = await gather(replace(inventory, hosts=inventory.servers), fleet, session.interaction)
            unreached = {name: as_failure(error) for name, error in seen.unreachable.items()}
            situation = Situation(session.spec, inventory, seen.facts, record=record, unreached=unreached)
            server = _require_node(situation, node)
            plan = plan_by_hand(session.spec.name, verb, server, node, timeout_seconds)
            reporter.planned(plan)
            if plan.disruptive and not session.interaction.agree(plan):
                remedy = "approve it on a terminal, or use --yes where no question can be asked"
                raise NotAgreed(f"the {verb} was not approved, so nothing was changed", where=node, remedy=remedy)
            tools = Tools(fleet, ProviderCalls(session.provider), TokenSource(fleet, server))
            (result,) = await execute(plan.steps, performing(tools), reporter)
        acted = ActedOnNode(verb, result, reporter.journal)
        reporter.ended(acted.exit_code)
        return acted


def _require_node(situation: Situation, node: str) -> str:
    """Return the server to be asked about the node; raises BadInput where the cluster has no such node."""
    asked = answering(situation)
    if asked is None:
        raise StepFailed(
            "no server of the cluster answers",
            evidence="; ".join(why_silent(situation)),
            remedy="run pk3s status",
            code="cluster.no-answer",
        )
    server, cluster = asked
    names = [one.name for one in cluster.nodes]
    if node not in names:
        declared = any(host.name == node for host in situation.inventory.hosts)
        raise BadInput(
            "it is in the file, but is not a node of the cluster yet" if declared else "no node has that name",
            where=node,
            evidence=f"nodes: {', '.join(names)}",
            remedy="pk3s apply lets it join" if declared else "correct its name",
            code="kube.no-node",
        )
    return server.name
