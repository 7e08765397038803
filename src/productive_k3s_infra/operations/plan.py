"""`pk3s plan`: everything that `apply` does up to the point where it would change something."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from productive_k3s.contract.exit_code import ExitCode
from productive_k3s_infra.errors import BadInput
from productive_k3s_infra.inventory.observed import Probe
from productive_k3s_infra.operations.observe import Observation, observe, with_leaving
from productive_k3s_infra.operations.saved import save_plan
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of
from productive_k3s_infra.plan.limit import judged, require_alone
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.saved import PlanOptions
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.preflight.rules import preflight_checks
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.saved_plan import require_writable_name


@dataclass(frozen=True)
class Planned:
    """The plan, and what the preflight found without trying the ports; the plan's refusals are among it.

    `out` is the file that it was saved as, None where it was not.
    """

    plan: Plan
    preflight: Report
    out: Path | None = None

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
    prune: str | None = None,
    out: Path | None = None,
) -> Planned:
    """Look and plan; nothing is changed on a host. In the cluster directory a provider may keep what it plans with.

    With a `limit` only the nodes that it names are planned for, and only their hosts and servers are asked. The plan is
    saved as `out`, unless apply would be refused; `prune` says what a saved plan may lose.
    """
    require_alone(limit, new_cluster=new_cluster, replacing=replacing)
    if out is not None:
        require_writable_name(out)
    elif prune is not None:
        what = "it applies to a saved plan, and no file for one is given"
        raise BadInput(what, where="--prune", remedy="add --out FILE, or use it with pk3s apply", code="plan.beside")
    survey = await survey_of(session)
    inventory = inventory_of(session, survey)
    async with fleet_of(session, with_leaving(session, inventory, limit)) as fleet:
        seen = await observe(
            session, survey, inventory, fleet, new_cluster=new_cluster, replacing=replacing, limit=limit
        )
    plan = plan_stages(seen.situation)
    planned = Planned(plan, preflight(session, seen, plan))
    if out is None or planned.exit_code:
        return planned
    options = PlanOptions(tuple(sorted(limit)), replacing, prune, new_cluster)
    save_plan(session, out, plan, options, seen.observed.facts)
    return replace(planned, out=out)


def preflight(session: Session, seen: Observation, plan: Plan, probes: tuple[Probe, ...] | None = None) -> Report:
    """PURE: judge what was seen of the hosts, with the vetoes of the plan. `probes` None: the ports were not tried."""
    # With --new-cluster the recorded CA is no yardstick any more.
    record = None if seen.situation.new_cluster else seen.situation.record
    hosts = judged(seen.situation)
    checks = preflight_checks(session.spec, hosts, seen.observed, probes, record, refusals=plan.refusals)
    return Report(session.spec.name, "preflight", checks)
