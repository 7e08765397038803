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


File = Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="The cluster file.", show_default=True)]
Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        callback=want_output,
        help="The form of the answer. json and yaml are one complete document, also for an error.",
    ),
]
Progress = Annotated[
    ProgressForm,
    typer.Option(
        "--progress",
        callback=want_progress,
        help="The form of progress on standard error. With json: one object per line, and no questions.",
    ),
]
PlanOutput = Annotated[
    PlanFormat,
    typer.Option(
        "--output",
        "-o",
        callback=want_output,
        help="The form of the answer. json and yaml are one complete document, also for an error; markdown is for a "
        "merge request.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="Show everything: each changed line of a file, and each check.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to everything without being asked.")]
NewCluster = Annotated[
    bool, typer.Option("--new-cluster", help="Found a new cluster even if cluster.lock records another one.")
]
Replace = Annotated[
    list[str] | None,
    typer.Option(
        "--replace",
        metavar="NODE",
        autocompletion=complete_node,
        help="Destroy this node's machine and create it again. Can be repeated.",
    ),
]
Prune = Annotated[
    str | None,
    typer.Option(
        "--prune",
        metavar="[CLUSTER]",
        help="With --yes or --out: allow removing what the file no longer names. To remove more than one node or "
        "machine, give the cluster's name.",
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NODE[,NODE]",
        autocompletion=complete_node,
        help="Only these nodes. Can be repeated. Other nodes, machines and the full validation are left out.",
    ),
]
DEFAULT_FILE = Path("cluster.yaml")
