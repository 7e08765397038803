"""The host program over a verb that waits for a file `go`: `python signalled.py ARGUMENT...`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from productive_k3s import __main__ as program
from productive_k3s.contract.events import Result
from productive_k3s.doors.host import Host


async def run(host: Host, _flags: argparse.Namespace) -> Result:
    """Say something now and then, like a change that takes its time, and see what was asked of it in the end."""
    host.emit("note", "begun")
    while not Path("go").exists():  # noqa: ASYNC240 - the host program runs without a loop
        time.sleep(0.02)  # noqa: ASYNC251
    host.emit("note", "the change is finished")
    Path("finished").write_text(host.stop_asked())  # noqa: ASYNC240
    return Result("done")


program.run = run  # type: ignore[assignment]
sys.exit(program.main())
