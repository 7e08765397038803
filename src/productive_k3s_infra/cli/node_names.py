"""What a shell may offer for a node's name: those of the cluster file, read as cheaply as can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

_MOST_BYTES = 1 << 20
_MOST_OF_ONE = 100


def complete_node(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names that begin so. A file that is not there or does not load offers nothing, and says nothing."""
    file = Path(ctx.params.get("file") or "cluster.yaml")
    try:
        names = list(node_names(file.expanduser()))
    except Exception:  # noqa: BLE001 - the person is typing: what is wrong with the file is said when a verb runs
        return []
    return [name for name in names if name.startswith(incomplete)]


def node_names(file: Path) -> Iterator[str]:
    """Yield the names of a file that nobody checked; `count: 2` of `agent` is agent-1, agent-2."""
    import yaml

    with file.open(encoding="utf-8") as stream:
        written: Any = yaml.safe_load(stream.read(_MOST_BYTES))
    for node in written["spec"]["nodes"]:
        name, count = node["name"], node.get("count")
        if isinstance(count, int):
            yield from (f"{name}-{number}" for number in range(1, min(count, _MOST_OF_ONE) + 1))
        else:
            yield str(name)
