"""One pk3s at a time in a cluster directory. The kernel frees the lock of a holder that dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from productive_k3s_infra import _flock
from productive_k3s_infra._files import explained
from productive_k3s_infra.workspace.directory import AREA, Workspace, open_workspace


@contextmanager
def hold(workspace: Workspace, verb: str) -> Iterator[None]:
    """Hold the cluster directory, made if it is missing, for the time of the block. It does not wait.

    Raises Locked, naming the holder's process, verb, user and start, while another pk3s has it.
    """
    open_workspace(workspace.cluster_file, workspace.cluster)
    with ExitStack() as held:
        with explained(workspace.lock, AREA):
            held.enter_context(_flock.hold(workspace.lock, "this cluster", f"pk3s {verb}"))
        yield
