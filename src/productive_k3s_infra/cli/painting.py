"""Lines of a plan in colour. The colour is laid over the text: what is read is the same everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from productive_k3s_infra.plan.lines import Kind, Line

_STYLES: dict[Kind, str] = {
    "": "",
    "counts": "bold",
    "create": "green",
    "change": "yellow",
    "restart": "bold yellow",
    "drain": "bold magenta",
    "remove": "red",
    "destroy": "bold red",
    "added": "green",
    "taken": "red",
    "quiet": "dim",
    "bad": "bold red",
}


def painted(line: Line) -> Text:
    """Return a line for rich."""
    return Text(line.text, _STYLES[line.kind])


def say_painted(lines: Iterable[Line]) -> None:
    """Print lines on standard output, in colour on a terminal only."""
    from productive_k3s_infra.cli.running import say

    if not sys.stdout.isatty():
        say(line.text for line in lines)
        return
    from rich.console import Console

    # What rich makes of it is written as all results are: also where nobody reads any more.
    console = Console(highlight=False, soft_wrap=True)
    with console.capture() as made:
        for line in lines:
            console.print(painted(line))
    say(made.get().splitlines())
