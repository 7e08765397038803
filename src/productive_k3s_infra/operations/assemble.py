"""The stage of the cluster in `pk3s apply`: check, agree, then execute its steps."""

from __future__ import annotations

import time
from dataclasses import replace

from productive_k3s_infra.execute.executor import execute
from productive_k3s_infra.execute.model import failed
from productive_k3s_infra.execute.steps.apply_host import longest_seconds
from productive_k3s_infra.execute.steps.perform import performing
from productive_k3s_infra.hosts.fleet.probing import probe_ports
from productive_k3s_infra.hosts.fleet.telling import PORTS, told
from productive_k3s_infra.operations.agreement import covers, require_agreed
from productive_k3s_infra.operations.apply_run import ApplyRun
from productive_k3s_infra.operations.plan import preflight
from productive_k3s_infra.operations.recording import RecordingListener, record_cluster, record_hosts
from productive_k3s_infra.operations.validate import expected
from productive_k3s_infra.operations.validation_ahead import ValidationAhead
from productive_k3s_infra.plan.joining import only_new_agents_join
from productive_k3s_infra.plan.limit import judged
from productive_k3s_infra.plan.servers import asked_server, live_server
from productive_k3s_infra.plan.step import ApplyServer
from productive_k3s_infra.preflight.rules import already_listening, to_probe
from productive_k3s_infra.validate.gather import ask_cluster, note_passed
from productive_k3s_infra.validate.quick import Answer


async def check_hosts(run: ApplyRun) -> None:
    """Preflight: every question about every host, also whether they reach each other. One error ends the run."""
    began = time.monotonic()
    probes = None
    if run.options.probe:
        spec, inventory, observed = run.session.spec, run.seen.inventory, run.seen.observed
        targets, listening = to_probe(spec, inventory, observed), already_listening(spec, inventory, observed)
        with told(run.session.interaction if targets or listening else None, "all hosts", PORTS):
            probes = await probe_ports(judged(run.seen.situation), targets, run.fleet, listening)
    run.reporter.looked("ports between the hosts", time.monotonic() - began)
    run.preflight = preflight(run.session, run.seen, run.plan, probes)
    run.reporter.planned(run.plan, then=run.then)
    run.reporter.reported(run.preflight)
    run.over = not run.preflight.passed


async def agree_to_cluster(run: ApplyRun) -> None:
    """Have the plan agreed to, unless the plan of all stages was, and this one interrupts nothing more."""
    if run.plan.steps and not covers(run.agreed, run.plan):
        require_agreed(run.session, run.plan, run.options.prune)


async def expect_validation(run: ApplyRun) -> None:
    """Note, before anything is changed, that no full validation has passed for what comes: a later apply has one."""
    asked = live_server(run.seen.situation)
    if run.plan.steps and asked is not None and not await note_passed(asked[0].name, run.fleet, ""):
        run.session.interaction.note("could not record that a full validation is due: run pk3s validate")


async def assemble_cluster(run: ApplyRun) -> None:
    """Execute the stage's steps. A validation begins meanwhile where all that happens is that agents join."""
    for host in run.seen.inventory.servers:
        record_cluster(run, run.seen.situation.facts.get(host.name))
    run.ahead = await _ahead(run)
    if run.ahead is not None:
        run.ahead.begin()
    steps = run.plan.of_stage("cluster")
    results = await execute(steps, performing(run.tools()), RecordingListener(run))
    run.results = (*run.results, *results)
    record_hosts(run)
    run.over = bool(failed(results))


async def _ahead(run: ApplyRun) -> ValidationAhead | None:
    seen = run.seen
    if run.options.limit or not only_new_agents_join(seen.situation, run.plan):
        return None
    wanted = await expected(run.session, seen.inventory)
    longest = longest_seconds(run.plan.steps, seen.resolved.local_files)
    wanted = replace(wanted, deadline=wanted.deadline + longest, joining=True)

    server = asked_server(seen.situation).name

    async def ask() -> Answer:
        return await ask_cluster(server, run.fleet, wanted, full=True, on_event=run.reporter.validating)

    founding = [step.id for step in run.plan.steps if isinstance(step, ApplyServer)]
    return ValidationAhead(ask, founding[0] if founding else None)
