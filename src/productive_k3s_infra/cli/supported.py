"""PURE: what `pk3s support` collected, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from productive_k3s_infra.operations.support import Supported


def supported_lines(supported: Supported) -> Iterator[str]:
    """Show where the bundle is, and what is missing in it."""
    yield f"{supported.path}: {len(supported.files)} files, listed in its MANIFEST; secrets were removed"
    for missing in supported.missing:
        yield f"missing: {missing}"
    yield "It contains names, addresses and labels of your hosts: read it before you share it."
