"""Options that several verbs have, once each."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from productive_k3s_infra.cli.node_names import complete_node
from productive_k3s_infra.cli.wanted import Format, ProgressForm, want_output, want_progress

__all__ = [
    "DEFAULT_FILE",
    "File",
    "Format",
    "Full",
    "Limit",
    "NewCluster",
    "Output",
    "PlanFormat",
    "PlanOutput",
    "Progress",
    "ProgressForm",
    "Prune",
    "Replace",
    "Yes",
]


class PlanFormat(str, Enum):
    """How a plan is printed."""

    text = "text"
    json = "json"
    yaml = "yaml"
    markdown = "markdown"


File = Annotated[Path, typer.Option("--file", "-f", help="The cluster file.", show_default=True)]
Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        callback=want_output,
        help="text, or one document with nothing left out, json or yaml; also of an error.",
    ),
]
Progress = Annotated[
    ProgressForm,
    typer.Option(
        "--progress",
        callback=want_progress,
        help="How progress is told on standard error: text, json (an object a line, and nobody is asked) or none.",
    ),
]
PlanOutput = Annotated[
    PlanFormat,
    typer.Option(
        "--output",
        "-o",
        callback=want_output,
        help="text; one document, json or yaml, also of an error; markdown for a merge request.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="Nothing in brief: the lines that differ in files, every check.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to everything; nobody is asked.")]
NewCluster = Annotated[
    bool, typer.Option("--new-cluster", help="Found a cluster though cluster.lock records another one.")
]
Replace = Annotated[
    list[str] | None,
    typer.Option(
        "--replace", metavar="NODE", autocompletion=complete_node, help="Make this node's machine anew; again for more."
    ),
]
Prune = Annotated[
    str | None,
    typer.Option(
        "--prune",
        metavar="[CLUSTER]",
        help="With --yes, and in a saved plan: let go what the file does not name any more; more than one only with "
        "the cluster's name.",
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NODE[,NODE]",
        autocompletion=complete_node,
        help="Only these nodes; again for more. Other nodes, machines and the full validation are left out.",
    ),
]
DEFAULT_FILE = Path("cluster.yaml")
