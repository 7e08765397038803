"""pk3s in front of a terminal, over a cluster in memory: `python asking.py WHAT ARGUMENT...`.

WHAT is what happens at the first word with the server's host: `nothing`, `host-key` or `sudo` (the person is asked, in
a thread, as SSH does it), `slow` (it answers once a file `go` is there, and sees a cancelled call through to that),
`looking` (its facts never come).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from productive_k3s.contract.events import Result
from productive_k3s_infra.errors import StepFailed
from productive_k3s_infra.hosts.fleet.session import Fleet
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.operations import afterwards, apply_run, destroy, plan, session
from productive_k3s_infra.operations.session import Session
from productive_k3s_infra.progress.interaction import Interaction
from static.fleet_doubles import Call
from static.operations.world import World, answer_for, session_of

WORLD = World("edge", "10.213.0")


def _is_there(name: str) -> bool:
    return Path(name).exists()


def _take(name: str) -> None:
    Path(name).unlink()


async def _seen_through(call: Call) -> Result:
    """Answer a server's call only when `go` is there; a call that is cancelled goes on, as it does on a host."""
    if call.verb == "server":
        call.say("it takes its time")
        while not _is_there("go"):
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                print("cancelled once", flush=True)
                if _is_there("stubborn"):
                    _take("stubborn")
                    continue
                raise
    return WORLD.answer("server-1", call)


async def _never(call: Call) -> Result:
    """Answer nothing."""
    print(f"{call.host} was asked for {call.verb}", flush=True)
    await asyncio.Event().wait()
    raise AssertionError(call)


def main() -> None:
    """Take the terminal, put the world in place, and run the command line."""
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    what = sys.argv.pop(1)
    patch = pytest.MonkeyPatch()
    answer_for(patch, [WORLD], apply_run, afterwards, destroy, plan)

    def open_session(file: Path, _environment: object, interaction: Interaction) -> Session:
        return session_of(file, WORLD, interaction)

    @asynccontextmanager
    async def fleet_of(opened: Session, _inventory: Inventory) -> AsyncIterator[Fleet]:
        fleet = WORLD.fleet()
        if what == "host-key" and not await asyncio.to_thread(
            opened.interaction.trust_host_key, "server-1", ("ED25519 SHA256:abc",)
        ):
            raise StepFailed("nobody trusts it")
        if what == "sudo":
            password = await asyncio.to_thread(opened.interaction.sudo_password, "server-1")
            if password is None or password.unmask() != "open sesame":
                raise StepFailed("wrong password")
        if what == "slow":
            fleet.answers = {"server-1": _seen_through}
        if what == "looking":
            fleet.answers = {"server-1": _never}
        yield fleet

    patch.setattr(session, "open_session", open_session)
    for operation in (apply_run, destroy, plan):
        patch.setattr(operation, "fleet_of", fleet_of)
    if sys.argv[1] == "destroy" or what == "looking":
        WORLD.machines["server-1"] = None
        WORLD.machines["server-1"] = WORLD.empty("server-1")
    from productive_k3s_infra.cli.app import main as pk3s

    with suppress(BrokenPipeError):
        pk3s()


if __name__ == "__main__":
    main()
