"""`pk3s apply`: machines, cluster, then a look whether it is right. Every part can be cut off and done again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from productive_k3s_infra.operations.afterwards import keep_inventory, keep_kubeconfig, validate_cluster
from productive_k3s_infra.operations.applied import Applied
from productive_k3s_infra.operations.apply_run import ApplyRun, Options
from productive_k3s_infra.operations.assemble import agree_to_cluster, assemble_cluster, check_hosts, expect_validation
from productive_k3s_infra.operations.held import hold_to_saved
from productive_k3s_infra.operations.journaled import journaled
from productive_k3s_infra.operations.machines import make_machines
from productive_k3s_infra.operations.second_look import look_again
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.plan.limit import require_alone
from productive_k3s_infra.workspace.saved_plan import SavedFile

Part = Callable[[ApplyRun], Awaitable[None]]


async def look(run: ApplyRun) -> None:
    """Look at machines, hosts and the release's files, and plan on what is seen. Nothing is changed."""
    await run.observe(replacing=run.options.replacing)


APPLY: tuple[Part, ...] = (
    look,
    hold_to_saved,
    make_machines,
    check_hosts,
    hold_to_saved,
    agree_to_cluster,
    assemble_cluster,
    keep_kubeconfig,
    keep_inventory,
    validate_cluster,
    look_again,
)
"""The whole of `apply`, in order; a part that ends the run says so. What is planned stands in `plan/stages.py`."""

APPLY_LIMITED: tuple[Part, ...] = (
    look,
    hold_to_saved,
    check_hosts,
    agree_to_cluster,
    expect_validation,
    assemble_cluster,
    look_again,
)
"""The whole of `apply --limit`: without machines, and without all that every node has to be seen for."""


async def apply(
    session: Session,
    *,
    probe: bool = True,
    new_cluster: bool = False,
    replacing: tuple[str, ...] = (),
    prune: str | None = None,
    limit: frozenset[str] = frozenset(),
    saved: SavedFile | None = None,
) -> Applied:
    """Make the cluster what the file says. Nothing is changed on a host before all of them were looked at.

    The machines in `replacing` are made anew: their nodes are drained and leave, their disks are lost. `prune` says
    what may be lost where nobody is asked (`require_agreed`). With a `limit` only the nodes that it names are changed,
    or removed; only their hosts and servers are asked, and the cluster is validated in full by the next whole apply.
    A `saved` plan is carried out with the options that it was made with, without a question; raises Refused where it is
    not what would be planned now.
    """
    options = Options(probe, new_cluster, replacing, prune, limit)
    if saved is not None:
        held = saved.content.options
        options = Options(probe, held.new_cluster, held.replacing, held.prune, frozenset(held.limit), saved)
    require_alone(options.limit, new_cluster=options.new_cluster, replacing=options.replacing)
    with journaled(session, "apply") as reporter:
        async with ApplyRun(session, reporter, options) as run:
            for part in APPLY_LIMITED if options.limit else APPLY:
                await part(run)
                if run.over:
                    break
        applied = run.applied()
        reporter.ended(applied.exit_code)
        return applied
