"""`pk3s version`."""

from __future__ import annotations

from dataclasses import asdict

from productive_k3s_infra.cli.options import Format, Output
from productive_k3s_infra.cli.running import finish, say, say_document


def version(*, output: Output = Format.text) -> None:
    """Say which pk3s this is, up to which K3s it knows the flags, its Python, and the host program's digest.

    Examples: `pk3s version`, `pk3s version -o json`.
    """
    from productive_k3s_infra.operations.version import get_versions

    def run() -> int:
        found = get_versions()
        if output is not Format.text:
            say_document(asdict(found))
            return 0
        said = (f"pk3s {found.pk3s}", f"K3s known up to: {found.k3s}", f"Python: {found.python}")
        say((*said, f"host program: sha256 {found.program}"))
        return 0

    finish(run)
