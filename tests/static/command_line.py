"""`pk3s` as it is run: a process of its own, whose output nobody sees; and a cluster file whose host refuses SSH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = """\
apiVersion: productive-k3s/v1alpha1
kind: Cluster
metadata: {name: edge}
spec:
  provider: {kind: onprem}
  k3s: {version: v1.34.4+k3s1}
  nodes: [{name: server-1, role: server, address: 127.0.0.1, ssh: {port: 1}}]
"""
# The first part of an apply is another one.
_PART = """\
import asyncio, sys
from productive_k3s_infra.cli.app import main
from productive_k3s_infra.operations import apply

async def other_part(run):
    {body}

apply.APPLY = (other_part,)
main()
"""
_SECONDS = 120.0


def command(*words: str, code: str = "") -> list[str]:
    """Return the words of a process; `code` is Python that stands in the place of the program."""
    return [sys.executable, *(("-c", code) if code else ("-m", "productive_k3s_infra")), *words]


def environment() -> dict[str, str]:
    """Return what finds this source, and is wide enough that no line is broken."""
    paths = os.pathsep.join([str(ROOT / "src"), *(path for path in sys.path if path)])
    return {**os.environ, "PYTHONPATH": paths, "COLUMNS": "160"}


def pk3s(*words: str, folder: Path | None = None, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run it in a folder to its end."""
    return subprocess.run(
        command(*words, code=code),
        env=environment(),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def with_other_part(body: str) -> str:
    """Return the program whose apply does but this, a line of Python in a coroutine."""
    return _PART.format(body=body)
