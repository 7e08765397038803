"""Ways to a host for the wire's suite: in process, and over SSH to a server in this very process."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import asyncssh

from productive_k3s.doors.system import System
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.hosts.fleet.in_process import InProcessSession
from productive_k3s_infra.hosts.fleet.session import HostSession
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory
from productive_k3s_infra.rehearse.system import SimulatedSystem

HOST = "node-1"
# What a run keeps and locks is the test's own: nobody else on this computer sees these mounts.
_ISOLATED = (
    'mount --bind "$1/lib" /usr/local/lib && mkdir -p /run/productive-k3s && '
    'mount --bind "$1/lock" /run/productive-k3s && '
    'if [ -n "$2" ]; then mount -t tmpfs -o size="$2",mode=755 small /usr/local/lib; fi && '
    'shift 2 && exec /bin/sh -c "$1"'
)


class Bed(Protocol):
    """A session with one host, and what can go wrong on the way to it."""

    session: HostSession

    def free_port(self) -> int: ...

    def cut(self) -> None:
        """Cut the connection, now."""

    def fill_disk(self) -> None:
        """From now on hardly anything can be written on the host."""

    def seen(self) -> str:
        """What others on the host can read of the calls: argument vectors."""


class InProcessBed:
    """The program's verbs over a simulated host."""

    def __init__(self, system: System | None = None) -> None:
        self._is_cut = False
        self.system: Any = system or SimulatedSystem()
        self.session: HostSession = InProcessSession(HOST, self.system, _no_kube, lambda: self._is_cut)

    def free_port(self) -> int:
        return 7000

    def cut(self) -> None:
        self._is_cut = True

    def fill_disk(self) -> None:
        async def full(path: str, data: bytes, mode: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        self.system.write = full

    def seen(self) -> str:
        return repr([command.argv for command in getattr(self.system, "commands", ())])


def _no_kube(kubeconfig: str) -> Any:
    raise AssertionError(f"nothing of the suite needs the API of {kubeconfig}")


class LoopbackBed:
    """A server of asyncssh on loopback that runs what it is told with /bin/sh, as any sshd does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._size = ""
        self.commands: list[str] = []
        self.noise = ""
        self.vectors = ""
        self.running = 0
        self.server: asyncssh.SSHAcceptor
        self.session: HostSession
        self._connections: list[asyncssh.SSHServerConnection] = []
        for name in ("lib", "lock"):
            (folder / name).mkdir()

    def free_port(self) -> int:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return int(one.getsockname()[1])

    def cut(self) -> None:
        for connection in self._connections:
            connection.abort()

    def fill_disk(self) -> None:
        self._size = "512k"

    def seen(self) -> str:
        return self.vectors + "\n".join(self.commands)

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command; its streams are the channel's."""
        command = process.command or ""
        self.commands.append(command)
        self._connections.append(process.get_extra_info("connection"))
        words = ("unshare", "--mount", "/bin/sh", "-c", _ISOLATED, "sh", str(self._folder), self._size)
        pipe = asyncio.subprocess.PIPE
        started = await asyncio.create_subprocess_exec(
            *words, f"{self.noise}\nexec {command}", stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert started.stdin is not None
        assert started.stdout is not None
        assert started.stderr is not None
        pumps = (
            asyncio.ensure_future(_pump(process.stdin, started.stdin, ends=True)),
            asyncio.ensure_future(_pump(started.stdout, process.stdout)),
            asyncio.ensure_future(_pump(started.stderr, process.stderr)),
        )
        self.running += 1
        try:
            status = await started.wait()
            self.running -= 1
            await asyncio.gather(*pumps[1:])
            process.exit(status)
        finally:
            if started.returncode is None:
                with suppress(ProcessLookupError):
                    started.kill()
                await started.wait()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            started._transport.close()  # type: ignore[attr-defined]  # asyncio has no other way to close its pipes

    def look_at_vectors(self) -> None:
        """Remember all argument vectors of this computer, as everybody on it can."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                self.vectors += path.read_bytes().replace(b"\0", b" ").decode(errors="replace") + "\n"


async def _pump(source: Any, target: Any, *, ends: bool = False) -> None:
    with suppress(OSError, asyncssh.Error):
        while chunk := await source.read(1 << 16):
            target.write(chunk)
            await target.drain()
    if ends:
        with suppress(OSError):
            target.close()


@asynccontextmanager
async def loopback(folder: Path) -> AsyncIterator[LoopbackBed]:
    """Give a bed with an open session; server and connections end with the block."""
    bed = LoopbackBed(folder)
    host_key, key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "key"))
    (folder / "key").chmod(0o600)
    (folder / "authorized").write_bytes(key.export_public_key())
    bed.server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=str(folder / "authorized"),
        process_factory=bed.serve,
        encoding=None,
    )
    shown = host_key.export_public_key().decode().strip()
    endpoint = Endpoint("127.0.0.1", "root", bed.server.get_port(), str(folder / "key"), (shown,))
    fleet = SshFleet(
        Inventory("wire", (Host(HOST, "server", "127.0.0.1", endpoint),)),
        program=build_program(),
        known_hosts=None,
        trust=lambda *_: False,
        ask_sudo=lambda _: None,
        openssh=OpenSsh("none"),
    )
    try:
        bed.session = await fleet.session(HOST)
        yield bed
    finally:
        await fleet.close()
        bed.server.close()
        await bed.server.wait_closed()
