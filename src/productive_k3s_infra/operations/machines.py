"""The stage of the machines in `pk3s apply`: what shall be made anew goes in order, then what is missing is made."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from productive_k3s_infra.errors import NotAgreed
from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import StepResult, failed
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations.looking import View, look, plan_of, replacement
from productive_k3s_infra.operations.removal import RemovalHandlers
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of
from productive_k3s_infra.plan.machines import has_work
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.progress.teller import Teller
from productive_k3s_infra.providers.protocol import Survey


@dataclass(frozen=True)
class Made:
    """How the stage ended: the survey afterwards, the plan that was agreed to (None: there was nothing to agree to).

    `refused` are the names that could not be replaced: the plan made with them says why.
    """

    survey: Survey
    agreed: Plan | None = None
    results: tuple[StepResult, ...] = ()
    refused: tuple[str, ...] = ()

    def covers(self, plan: Plan) -> bool:
        """Return whether everything in this plan that interrupts something was in the plan that was agreed to."""
        if self.agreed is None:
            return False
        known = {(step.id, step.impact) for step in self.agreed.steps}
        return all((step.id, step.impact) in known for step in plan.disruptive)


@dataclass(frozen=True)
class MachineStage:
    """Stage one of an apply."""

    session: Session
    teller: Teller
    new_cluster: bool

    async def run(self, survey: Survey, replacing: Collection[str]) -> Made:
        """Plan all stages on what is known, have it agreed to once, then make machines."""
        if not has_work(survey) and not replacing:
            return Made(survey)
        inventory = inventory_of(self.session, survey)
        async with fleet_of(self.session, inventory) as fleet:
            view = await self.look(survey, inventory, fleet)
            plan = plan_of(view, survey, replacing)
            if plan.refusals:
                return Made(survey, refused=tuple(replacing))
            require_agreed(self.session, plan)
            self.teller.planned(plan)
            results = await self._take_away(view, survey, fleet, replacing)
        if failed(results):
            return Made(await self.session.provider.survey(), plan, results)
        return Made(await self._create(plan), plan, results)

    async def look(self, survey: Survey, inventory: Inventory, fleet: Fleet) -> View:
        """Look at the hosts, and write down how long it took."""
        began = time.monotonic()
        view = await look(self.session, survey, inventory, fleet, new_cluster=self.new_cluster)
        self.teller.looked("hosts and the release's files", time.monotonic() - began)
        return view

    async def _take_away(
        self, view: View, survey: Survey, fleet: Fleet, replacing: Collection[str]
    ) -> tuple[StepResult, ...]:
        steps = replacement(view, survey, replacing).steps
        if not steps:
            return ()
        handlers = RemovalHandlers(self.session.provider, fleet, self.teller)
        return await execute(steps, handlers.by_action(), self.teller)

    async def _create(self, plan: Plan) -> Survey:
        session = self.session
        names = tuple(step.host for step in plan.steps if step.action == "create-machine")
        activity = f"make {', '.join(names)}" if names else "change what the machines share"
        began = time.monotonic()
        session.interaction.started("machines", activity)
        try:
            made = await session.provider.create(names, self.teller.machine)
        except BaseException:
            session.interaction.finished("machines", activity, time.monotonic() - began, failed=True)
            raise
        ended = f"{', '.join(names)} answer" if names else activity
        session.interaction.finished("machines", ended, time.monotonic() - began)
        return made


def require_agreed(session: Session, plan: Plan) -> None:
    """Show the plan and go on only if somebody agrees to it; raises NotAgreed."""
    if not session.interaction.agree(plan):
        raise NotAgreed(
            "nobody agreed to the plan, so nothing was changed",
            remedy="look at pk3s plan, then agree on a terminal, or say --yes where nobody is asked",
        )
