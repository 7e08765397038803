"""Change -> effect through the doors. Every effect looks again, can be killed, and done again."""

from __future__ import annotations

from dataclasses import replace
from typing import Awaitable, Callable, Mapping

from productive_k3s.contract.change import Action, Change
from productive_k3s.contract.failure import ContractError, system_failure
from productive_k3s.effects import artifacts, files, nodes, start
from productive_k3s.effects.task import Task
from productive_k3s.k3s import paths


async def apply_change(task: Task, change: Change) -> None:
    """Do one change and look whether it is done; what does not work is a ContractError."""
    try:
        if change.target == paths.CONFIG:
            await start.keep_start(task)
        await _EFFECTS[change.action](task, change)
    except OSError as error:
        failure = system_failure(error)
        raise ContractError(replace(failure, what=f"{change.target}: {failure.what}")) from error


_EFFECTS: Mapping[Action, Callable[[Task, Change], Awaitable[None]]] = {
    "install-binary": artifacts.install_binary,
    "install-images": artifacts.install_images,
    "write-file": files.write_file,
    "write-secret": files.write_secret,
    "write-hosts": files.write_hosts,
    "remove-hosts": files.write_hosts,
    "make-links": files.make_links,
    "set-label": files.set_label,
    "remove-file": files.remove_file,
    "enable-unit": start.enable_unit,
    "start-unit": start.start_unit,
    "restart-unit": start.restart_unit,
    "wait-ready": start.wait_ready,
    "watch-node": start.watch,
    "label-node": nodes.label_own,
    "taint-node": nodes.taint_own,
}
