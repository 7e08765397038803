"""`pk3s kubeconfig`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from productive_k3s_infra.cli.options import DEFAULT_FILE, File, Format, Output, Progress, ProgressForm
from productive_k3s_infra.cli.running import finish, open_terminal, say_result, wait_for
from productive_k3s_infra.errors import BadInput

if TYPE_CHECKING:
    from productive_k3s_infra.operations.kubeconfig_merge import Merged

Merge = Annotated[
    bool, typer.Option("--merge", help="Add its context to your own kubeconfig, under the cluster's name.")
]
Unmerge = Annotated[bool, typer.Option("--unmerge", help="Remove that context from your own kubeconfig.")]
Use = Annotated[bool, typer.Option("--use", help="With --merge: switch to this context.")]


def kubeconfig(
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    merge: Merge = False,
    unmerge: Unmerge = False,
    use: Use = False,
) -> None:
    """Fetch the kubeconfig and print its path, or merge it into yours ($KUBECONFIG or ~/.kube/config).

    Examples: `export KUBECONFIG=$(pk3s kubeconfig)`, `pk3s kubeconfig --merge --use`, `pk3s kubeconfig --unmerge`.
    """
    from productive_k3s_infra.answers.made import kubeconfig_answer
    from productive_k3s_infra.answers.verbs import merged_answer
    from productive_k3s_infra.operations.kubeconfig import get_kubeconfig
    from productive_k3s_infra.operations.kubeconfig_merge import (
        merge_kubeconfig,
        persons_kubeconfig,
        unmerge_kubeconfig,
    )
    from productive_k3s_infra.operations.session import open_session

    def run() -> int:
        if (merge and unmerge) or (use and not merge):
            raise BadInput(
                "--merge and --unmerge cannot be combined, and --use needs --merge",
                where="pk3s kubeconfig",
                remedy="use --merge, --merge --use, or --unmerge",
            )
        terminal = open_terminal(assume_yes=False)
        session = open_session(file, os.environ, terminal)
        path = persons_kubeconfig(os.environ, Path.home())
        if not merge and not unmerge:
            found = wait_for(get_kubeconfig(session), terminal)
            return say_result(kubeconfig_answer(found, session.spec.name), (str(found),))
        done = (
            wait_for(merge_kubeconfig(session, path, use=use), terminal) if merge else unmerge_kubeconfig(session, path)
        )
        return say_result(merged_answer(done), merged_lines(done, merge=merge))

    finish(run)


def merged_lines(done: Merged, *, merge: bool) -> Iterator[str]:
    """PURE: say what became of the person's file."""
    if not done.changed:
        yield f"{done.path}: nothing to change, the context {done.context} {'exists' if merge else 'does not exist'}"
    elif merge:
        yield f"{done.path}: now has the context {done.context}"
    else:
        yield f"{done.path}: removed the context {done.context}"
    if done.backup is not None:
        yield f"before: {done.backup}"
    if merge:
        yield "kubectl now uses it" if done.current else f"use it: kubectl --context {done.context} get nodes"
