"""`pk3s cordon`, `drain` and `uncordon`: what a person does with a node that stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from productive_k3s_infra.cli.node_names import complete_node
from productive_k3s_infra.cli.options import DEFAULT_FILE, File, Format, Output, Progress, ProgressForm, Yes
from productive_k3s_infra.cli.running import finish, open_terminal, say_result, wait_for

# A verb's own imports stand in it: what is not asked for is not loaded, and `--help` answers at once.
if TYPE_CHECKING:
    from pathlib import Path

    from productive_k3s_infra.operations.node import ActedOnNode
    from productive_k3s_infra.plan.by_hand import PersonsVerb

Node = Annotated[
    str, typer.Argument(metavar="NODE", help="The node's name, as pk3s status shows it.", autocompletion=complete_node)
]
Timeout = Annotated[
    int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for the pods to leave.")
]
_DRAIN_SECONDS = 300


def cordon(
    node: Node, file: File = DEFAULT_FILE, *, output: Output = Format.text, progress: Progress = ProgressForm.text
) -> None:
    """Keep new pods off a node until you uncordon it. apply never uncordons a node that you cordoned.

    Example: `pk3s cordon agent-1`.
    """
    _act("cordon", node, file)


def drain(
    node: Node,
    file: File = DEFAULT_FILE,
    *,
    output: Output = Format.text,
    progress: Progress = ProgressForm.text,
    yes: Yes = False,
    timeout: Timeout = _DRAIN_SECONDS,
) -> None:
    """Cordon a node and evict its pods, within their disruption budgets. DaemonSet pods stay.

    Examples: `pk3s drain agent-1`, `pk3s drain agent-1 --yes --timeout 60`.
    """
    _act("drain", node, file, yes=yes, timeout=timeout)


def uncordon(
    node: Node, file: File = DEFAULT_FILE, *, output: Output = Format.text, progress: Progress = ProgressForm.text
) -> None:
    """Allow new pods on a node again, no matter who cordoned it.

    Example: `pk3s uncordon agent-1`.
    """
    _act("uncordon", node, file)


def _act(verb: PersonsVerb, node: str, file: Path, *, yes: bool = False, timeout: int = _DRAIN_SECONDS) -> None:
    from productive_k3s_infra.answers.made import node_answer
    from productive_k3s_infra.operations.node import act_on_node
    from productive_k3s_infra.operations.session import open_session

    def run() -> int:
        terminal = open_terminal(assume_yes=yes)
        session = open_session(file, os.environ, terminal)
        acted = wait_for(act_on_node(session, verb, node, timeout_seconds=float(timeout)), terminal)
        return say_result(node_answer(acted), acted_lines(acted))

    finish(run)


def acted_lines(acted: ActedOnNode) -> Iterator[str]:
    """PURE: say how it ended; what failed with its way on, and where the journal is."""
    from productive_k3s_infra.cli.show import failure_lines

    result = acted.result
    if result.failure is not None:
        yield from failure_lines(result.step.id, result.failure)
        if acted.journal is not None:
            yield f"journal: {acted.journal}"
    elif result.result is not None:
        yield from result.result.notes
