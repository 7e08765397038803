"""`pk3s explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from productive_k3s_infra.cli.options import Format, Output
from productive_k3s_infra.cli.running import finish, say_result

if TYPE_CHECKING:
    from productive_k3s_infra.operations.explain import Explained

What = Annotated[
    str,
    typer.Argument(
        metavar="CODE|CHECK|PAGE",
        help="The code in brackets at the end of a message, or the name of a page. `pages` lists the pages.",
    ),
]


def explain(what: What, *, output: Output = Format.text) -> None:
    """Explain a failure code or a check and what to do about it, or print a page. Works offline.

    Examples: `pk3s explain ssh.host-key-changed`, `pk3s explain node.ready`, `pk3s explain pages`.
    """
    from productive_k3s_infra.answers.verbs import explain_answer
    from productive_k3s_infra.operations.explain import explain as operation

    def run() -> int:
        found = operation(what)
        return say_result(explain_answer(found), explained_lines(found))

    finish(run)


def explained_lines(found: Explained) -> Iterator[str]:
    """PURE: show each row with the names of its columns; a page as it is."""
    if found.text:
        yield from found.text.splitlines()
    for number, entry in enumerate(found.entries):
        if number:
            yield ""
        yield f"{found.name} ({entry.section}; all of them: pk3s explain {entry.page})"
        yield from (f"  {title}: {cell}" for title, cell in entry.cells)
        also = [name for name in entry.names if name != found.name]
        if also:
            yield f"  the same of: {', '.join(also)}"
