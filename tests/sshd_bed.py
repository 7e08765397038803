"""OpenSSH servers on loopback, and a person's OpenSSH files, for tests of how hosts are reached.

Servers
    start(name, **options)   a server with a host key of its own and sshd_config(5) options; `server.port`, `.host_key`
    Site                     a person: key files, ssh_config and known_hosts in one folder, never those of this computer

What the same files do with OpenSSH's own client is asked with `site.openssh(name, command)`.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.artifacts.program import build_program
from productive_k3s_infra.hosts.ssh.fleet import SshFleet
from productive_k3s_infra.hosts.ssh.openssh import OpenSsh
from productive_k3s_infra.inventory.model import Endpoint, Host, Inventory

USER = getpass.getuser()
_START_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A running sshd."""

    name: str
    address: str
    port: int
    host_key: str
    process: subprocess.Popen[bytes]
    log: Path

    def children(self) -> list[int]:
        """Return the processes of its connections."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def known(self, name: str = "") -> str:
        """Return its line of known_hosts."""
        return f"[{name or self.address}]:{self.port} {self.host_key}\n"


@dataclass
class Answers:
    """What a person would say, and what was asked."""

    trust: bool = False
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def trusts(self, where: str, keys: tuple[str, ...]) -> bool:
        self.asked.append((where, keys))
        return self.trust


@dataclass
class Site:
    """A person's files. `config` is given to `ssh -F`, so nothing of this computer's own configuration is read."""

    folder: Path
    servers: list[Server] = field(default_factory=list)
    answers: Answers = field(default_factory=Answers)

    @property
    def key(self) -> Path:
        return self.folder / "id"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def team(self) -> Path:
        """The committed known_hosts."""
        return self.folder / "team_known_hosts"

    @property
    def persons(self) -> Path:
        """The person's own known_hosts."""
        return self.folder / "known_hosts"

    def configure(self, text: str, *, knows: str | None = None) -> None:
        """Write ssh_config; the person knows all servers by address, unless `knows` says what they know."""
        known = "".join(server.known() for server in self.servers) if knows is None else knows
        self.persons.write_text(known)
        common = f"Host *\n  UserKnownHostsFile {self.persons}\n  GlobalKnownHostsFile none\n"
        self.config.write_text(f"{text}\n{common}  IdentityFile {self.key}\n  IdentitiesOnly yes\n")

    def start(self, name: str, address: str = "127.0.0.1", **options: str) -> Server:
        """Start a server that accepts the person's key."""
        folder = self.folder / name
        folder.mkdir()
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / "host_key"))
        (folder / "host_key").chmod(0o600)
        port = free_port(address)
        said = {
            "Port": str(port),
            "ListenAddress": address,
            "HostKey": str(folder / "host_key"),
            "PidFile": "none",
            "AuthorizedKeysFile": str(self.folder / "authorized"),
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            **options,
        }
        (folder / "sshd_config").write_text("".join(f"{word} {value}\n" for word, value in said.items()))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it keeps nothing, and will not start without
        log = folder / "log"
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "no sshd: apt-get install openssh-server"
        words = (program, "-D", "-e", "-f", str(folder / "sshd_config"))
        with log.open("wb") as output:
            process = subprocess.Popen(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        server = Server(name, address, port, key.export_public_key().decode().strip(), process, log)
        self.servers.append(server)
        _wait_until_it_listens(server)
        return server

    def openssh(self, name: str, command: str = "true") -> subprocess.CompletedProcess[str]:
        """Do it with OpenSSH's own client."""
        words = ("ssh", "-F", str(self.config), "-o", "BatchMode=yes", name, command)
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)

    def fleet(self, *endpoints: Endpoint, seconds: float = 15.0, begin: float = 45.0) -> SshFleet:
        """Return a fleet of host-0, host-1, ..."""
        hosts = tuple(Host(f"host-{n}", "server", one.address, one) for n, one in enumerate(endpoints))
        return SshFleet(
            Inventory("bed", hosts),
            program=build_program(),
            known_hosts=self.team,
            trust=self.answers.trusts,
            ask_sudo=lambda _host: Secret("none"),
            connect_seconds=seconds,
            begin_seconds=begin,
            openssh=OpenSsh(str(self.config)),
        )

    @asynccontextmanager
    async def opened(self, *endpoints: Endpoint, seconds: float = 15.0, begin: float = 45.0) -> AsyncIterator[SshFleet]:
        """Give a fleet with all its hosts connected; it is closed at the end."""
        fleet = self.fleet(*endpoints, seconds=seconds, begin=begin)
        try:
            await asyncio.gather(*(fleet.session(f"host-{n}") for n in range(len(endpoints))))
            yield fleet
        finally:
            await fleet.close()

    async def reach(self, endpoint: Endpoint, seconds: float = 15.0) -> None:
        """Connect to a host, and no more."""
        async with self.opened(endpoint, seconds=seconds):
            pass

    def close(self) -> None:
        """End the servers and their connections."""
        for server in self.servers:
            for pid in (*server.children(), server.process.pid):
                with suppress(ProcessLookupError):  # a connection may end by itself just now
                    os.kill(pid, signal.SIGKILL)
            server.process.wait(10)


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as one:
        one.bind((address, 0))
        return int(one.getsockname()[1])


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Give a person with one key; servers end with the block."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    made = Site(folder)
    key.write_private_key(str(made.key))
    key.write_public_key(f"{made.key}.pub")
    made.key.chmod(0o600)
    (folder / "authorized").write_bytes(key.export_public_key())
    try:
        yield made
    finally:
        made.close()


def _wait_until_it_listens(server: Server) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        assert server.process.poll() is None, server.log.read_text()
        with socket.socket() as one:
            if one.connect_ex((server.address, server.port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(server.log.read_text())
