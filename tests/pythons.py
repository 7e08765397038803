"""The Python interpreters of this computer that the host program has to run on: 3.9 and newer, one of each version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_ASK = "import sys; print('%d.%d' % sys.version_info[:2] if sys.version_info >= (3, 9) else '')"


def find() -> list[str]:
    """Return their paths; the one that runs the tests is the first."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [sys.executable, "/usr/bin/python3"]
    candidates += [found for minor in range(9, 20) if (found := shutil.which(f"python3.{minor}"))]
    candidates += map(str, sorted(root.glob("versions/3.*/bin/python3")))
    chosen: dict[str, str] = {}
    for candidate in candidates:
        try:
            done = subprocess.run((candidate, "-I", "-c", _ASK), capture_output=True, text=True, check=False)
        except OSError:
            continue
        version = done.stdout.strip()
        if done.returncode == 0 and version:
            chosen.setdefault(version, candidate)
    return list(chosen.values())
