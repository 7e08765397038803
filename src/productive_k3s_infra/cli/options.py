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
        help="text, or one complete document: json or yaml. An error is such a document too.",
    ),
]
Progress = Annotated[
    ProgressForm,
    typer.Option(
        "--progress",
        callback=want_progress,
        help="How progress is shown on standard error: text, json (one object per line, without questions) or none.",
    ),
]
PlanOutput = Annotated[
    PlanFormat,
    typer.Option(
        "--output",
        "-o",
        callback=want_output,
        help="text; one complete document: json or yaml; or markdown for a merge request.",
    ),
]
Full = Annotated[bool, typer.Option("--full", help="Show everything: the lines that differ in files, and every check.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to everything, without questions.")]
NewCluster = Annotated[
    bool, typer.Option("--new-cluster", help="Found a new cluster although cluster.lock records another one.")
]
Replace = Annotated[
    list[str] | None,
    typer.Option(
        "--replace", metavar="NODE", autocompletion=complete_node, help="Recreate this node's machine; repeat for more."
    ),
]
Prune = Annotated[
    str | None,
    typer.Option(
        "--prune",
        metavar="[CLUSTER]",
        help="With --yes, and in a saved plan: remove what the file no longer names. To remove more than one, give the "
        "cluster's name.",
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NODE[,NODE]",
        autocompletion=complete_node,
        help="Only these nodes; repeat for more. Other nodes, machines and the full validation are left out.",
    ),
]
DEFAULT_FILE = Path("cluster.yaml")
