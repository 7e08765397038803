"""`pk3s plan`: everything that `apply` does up to the point where it would change something."""

from __future__ import annotations

from dataclasses import dataclass

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.inventory.observed import Probe
from productive_k3s_infra.operations.observe import Observation, observe, with_leaving
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of
from productive_k3s_infra.plan.limit import judged, require_alone
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.preflight.rules import preflight_checks
from productive_k3s_infra.validate.report import Report


@dataclass(frozen=True)
class Planned:
    """The plan, and what the preflight found without trying the ports; the plan's refusals are among it."""

    plan: Plan
    preflight: Report

    @property
    def exit_code(self) -> int:
        """0, or 4 where applying would be refused."""
        return 0 if self.preflight.passed else ExitCode.REFUSED


async def make_plan(
    session: Session,
    *,
    new_cluster: bool = False,
    replacing: tuple[str, ...] = (),
    limit: frozenset[str] = frozenset(),
) -> Planned:
    """Look and plan; nothing is changed on a host. In the cluster directory a provider may keep what it plans with.

    With a `limit` only the nodes that it names are planned for, and only their hosts and servers are asked.
    """
    require_alone(limit, new_cluster=new_cluster, replacing=replacing)
    survey = await survey_of(session)
    inventory = inventory_of(session, survey)
    async with fleet_of(session, with_leaving(session, inventory, limit)) as fleet:
        seen = await observe(
            session, survey, inventory, fleet, new_cluster=new_cluster, replacing=replacing, limit=limit
        )
    plan = plan_stages(seen.situation)
    return Planned(plan, preflight(session, seen, plan))


def preflight(session: Session, seen: Observation, plan: Plan, probes: tuple[Probe, ...] | None = None) -> Report:
    """PURE: judge what was seen of the hosts, with the vetoes of the plan. `probes` None: the ports were not tried."""
    # With --new-cluster the recorded CA is no yardstick any more.
    record = None if seen.situation.new_cluster else seen.situation.record
    hosts = judged(seen.situation)
    checks = preflight_checks(session.spec, hosts, seen.observed, probes, record, refusals=plan.refusals)
    return Report(session.spec.name, "preflight", checks)
