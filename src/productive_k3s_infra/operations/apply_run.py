"""One apply: what its parts have come to so far, and hand on."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self

from productive_k3s.contract.failure import Failure
from productive_k3s_infra.execute.model import StepResult
from productive_k3s_infra.execute.steps.machines import ProviderCalls
from productive_k3s_infra.execute.steps.tokens import TokenSource
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.hosts.fleet.telling import VALIDATE
from productive_k3s_infra.operations.applied import Applied
from productive_k3s_infra.operations.observe import Observation, observe, with_leaving
from productive_k3s_infra.operations.session import Session, fleet_of, inventory_of, survey_of
from productive_k3s_infra.operations.validation_ahead import ValidationAhead
from productive_k3s_infra.plan.host_network import secrets_of
from productive_k3s_infra.plan.model import Plan
from productive_k3s_infra.plan.servers import asked_server
from productive_k3s_infra.plan.stages import plan_stages
from productive_k3s_infra.progress.reporter import Reporter
from productive_k3s_infra.validate.report import Report
from productive_k3s_infra.workspace.saved_plan import SavedFile


@dataclass(frozen=True)
class Options:
    """How it was asked for: with ports tried, founding though another cluster is recorded, machines made anew.

    `prune`: see `require_agreed`. `limit` names the only nodes that it is about; empty: all. `saved` is the plan that
    was saved before, and holds.
    """

    probe: bool = True
    new_cluster: bool = False
    replacing: tuple[str, ...] = ()
    prune: str | None = None
    limit: frozenset[str] = frozenset()
    saved: SavedFile | None = None


@dataclass
class ApplyRun:
    """What the parts of an apply hand on. The fleet is that of the last look, closed when the run ends.

    `begun` and `done_before` are ids of steps that earlier runs of the same saved plan began, and did.
    """

    session: Session
    reporter: Reporter
    options: Options
    agreed: Plan | None = None
    begun: frozenset[str] = frozenset()
    done_before: tuple[str, ...] = ()
    results: tuple[StepResult, ...] = ()
    report: Report | None = None
    troubles: list[Failure] = field(default_factory=list)
    ahead: ValidationAhead | None = None
    over: bool = False
    seen: Observation = field(init=False)
    plan: Plan = field(init=False)
    preflight: Report = field(init=False)
    fleet: Fleet = field(init=False)
    provider: ProviderCalls = field(init=False)
    began: float = field(default_factory=time.monotonic)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.provider = ProviderCalls(self.session.provider)
        self.preflight = Report(self.session.spec.name, "preflight", ())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.ahead is not None:
            await self.ahead.drop()
        await self._open.aclose()

    async def observe(self, *, replacing: tuple[str, ...] = ()) -> None:
        """Look at everything anew, and plan on it."""
        await self._open.aclose()
        survey = self.provider.take_survey() or await survey_of(self.session)
        inventory = inventory_of(self.session, survey)
        began = time.monotonic()
        new_cluster, limit = self.options.new_cluster, self.options.limit
        reached = with_leaving(self.session, inventory, limit)
        self.fleet = await self._open.enter_async_context(fleet_of(self.session, reached))
        self.seen = await observe(
            self.session, survey, inventory, self.fleet, new_cluster=new_cluster, replacing=replacing, limit=limit
        )
        self.reporter.looked("hosts and the release's files", time.monotonic() - began)
        self.plan = plan_stages(self.seen.situation)

    @property
    def then(self) -> str:
        """What follows once all steps are done: only a whole apply validates the cluster."""
        return "" if self.options.limit else VALIDATE

    def tools(self) -> Tools:
        """Return what steps are carried out with."""
        tokens = TokenSource(self.fleet, asked_server(self.seen.situation).name)
        secrets = secrets_of(self.session.spec)
        return Tools(self.fleet, self.provider, tokens, self.seen.resolved.local_files, secrets)

    def trouble(self, failure: Failure) -> None:
        """Keep what went wrong beside the steps."""
        self.troubles.append(failure)
        self.reporter.trouble(failure)

    def applied(self) -> Applied:
        """Return how it ended."""
        seconds = time.monotonic() - self.began
        troubles = tuple(self.troubles)
        journal = self.reporter.journal
        saved = self.options.saved.path if self.options.saved is not None else None
        return Applied(
            *(self.plan, self.preflight, journal, self.results, self.report, seconds, troubles),
            saved=saved,
            done_before=self.done_before,
        )
