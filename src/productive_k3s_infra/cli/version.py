"""`pk3s version`."""

from __future__ import annotations

from productive_k3s_infra.cli.options import Format, Output
from productive_k3s_infra.cli.running import finish, say_result


def version(*, output: Output = Format.text) -> None:
    """Show the version of pk3s, the newest K3s whose flags it knows, its Python, and the host program's digest.

    Examples: `pk3s version`, `pk3s version -o json`.
    """
    from productive_k3s_infra.answers.verbs import version_answer
    from productive_k3s_infra.operations.version import get_versions

    def run() -> int:
        found = get_versions()
        lines = (
            f"pk3s {found.pk3s}",
            f"K3s known up to: {found.k3s}",
            f"Python: {found.python}",
            f"host program: sha256 {found.program}",
        )
        return say_result(version_answer(found), lines)

    finish(run)
