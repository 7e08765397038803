"""What can be said about the code without running it is said by `make lint`; a run of the tests says it too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_code_is_clean() -> None:
    command = (REPOSITORY / "scripts" / "lint", Path(sys.executable).parent)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
