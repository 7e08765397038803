"""`uninstall`: K3s goes from a host that stays. The host itself refuses if it belongs to another cluster."""

from __future__ import annotations

from productive_k3s.contract.events import Result
from productive_k3s_infra.execute.model import Say
from productive_k3s_infra.execute.steps.tools import Tools
from productive_k3s_infra.plan.step import UninstallHost

UNINSTALL_SECONDS = 300.0


async def uninstall_host(tools: Tools, step: UninstallHost, say: Say) -> Result:
    """Uninstall K3s. `--force` is about living members only: the whole cluster goes, its servers last."""
    cluster = ("--cluster", step.ca_hash) if step.ca_hash is not None else ()
    force = ("--force",) if step.role == "server" else ()
    session = await tools.fleet.session(step.host)
    return await session.call(
        "uninstall", arguments=(*cluster, "--yes", *force), on_event=say, deadline_seconds=UNINSTALL_SECONDS
    )
