"""What `pk3s apply` does once all steps have ended well. Nothing here loses what they came to."""

from __future__ import annotations

import time

from productive_k3s_infra.errors import Pk3sError
from productive_k3s_infra.execute.model import as_failure
from productive_k3s_infra.operations.apply_run import ApplyRun
from productive_k3s_infra.operations.kubeconfig import fetch_kubeconfig
from productive_k3s_infra.operations.validate import facts_after, validate_with
from productive_k3s_infra.plan.servers import asked_server
from productive_k3s_infra.workspace.inventory_file import write_inventory


async def keep_kubeconfig(run: ApplyRun) -> None:
    """Fetch the admin's kubeconfig, anew after every change."""
    if not run.results and run.session.workspace.kubeconfig.exists():
        return
    try:
        await fetch_kubeconfig(run.session, run.seen.inventory, run.fleet)
    except Pk3sError as error:
        run.trouble(as_failure(error))


async def keep_inventory(run: ApplyRun) -> None:
    """Write down where the hosts are."""
    try:
        write_inventory(run.session.workspace, run.seen.inventory)
    except Pk3sError as error:
        run.trouble(as_failure(error))


async def validate_cluster(run: ApplyRun) -> None:
    """Validate: in full after a change, or where no full one has passed yet for what the hosts are; else quickly."""
    began = time.monotonic()
    run.report = await validate_with(
        run.session,
        run.seen.inventory,
        run.fleet,
        server=asked_server(run.seen.situation).name,
        full=bool(run.results),
        facts=facts_after(run.seen.observed.facts, run.results),
        on_event=run.reporter.validating,
        ahead=run.ahead,
    )
    run.reporter.looked("the cluster, to validate it", time.monotonic() - began)
    run.reporter.reported(run.report)
