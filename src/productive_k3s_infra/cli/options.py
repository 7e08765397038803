"""Options that several verbs have, once each."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """How results are printed."""

    text = "text"
    json = "json"


class PlanFormat(str, Enum):
    """How a plan is printed."""

    text = "text"
    json = "json"
    markdown = "markdown"


File = Annotated[Path, typer.Option("--file", "-f", help="The cluster file.", show_default=True)]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, or json with nothing left out.")]
PlanOutput = Annotated[
    PlanFormat,
    typer.Option("--output", "-o", help="text; json with nothing left out; markdown for a merge request."),
]
Full = Annotated[bool, typer.Option("--full", help="Nothing in brief: the lines that differ in files, every check.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to everything; nobody is asked.")]
NewCluster = Annotated[
    bool, typer.Option("--new-cluster", help="Found a cluster though cluster.lock records another one.")
]
Replace = Annotated[
    list[str] | None,
    typer.Option("--replace", metavar="NODE", help="Make this node's machine anew; again for more."),
]
Prune = Annotated[
    str | None,
    typer.Option(
        "--prune",
        metavar="[CLUSTER]",
        help="With --yes: let go what the file does not name any more; more than one only with the cluster's name.",
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NODE[,NODE]",
        help="Only these nodes; again for more. Other nodes, machines and the full validation are left out.",
    ),
]
DEFAULT_FILE = Path("cluster.yaml")
