"""What each door needs around it, so that one suite can be run on both."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from productive_k3s.doors.local import LocalSystem
from productive_k3s.doors.system import Completed, HttpResponse, Port, RemotePort, System
from productive_k3s_infra.rehearse.system import Command, Lasting, SimulatedSystem


class Bed(Protocol):
    """A host for the suite: its door, a folder of its own, and the programs that the suite starts."""

    system: System
    root: str
    elsewhere: str
    """A directory on another file system, in which nothing is ever made."""

    def unrunnable(self) -> list[str]:
        """Files that are marked as programs and are none: an empty one, one of another machine, a folder."""

    def rival(self) -> System:
        """Another process on the same host."""

    def end_first(self) -> None:
        """End the first process as far as its locks are concerned."""

    def feed(self, data: bytes) -> contextlib.AbstractContextManager[None]:
        """Give standard input."""

    def serve(self, path: str, status: int, body: bytes) -> str:
        """Put a page up; return its URL."""

    def listener(self) -> RemotePort:
        """Have somebody listen on a TCP port."""

    def silent(self) -> RemotePort:
        """Hold a UDP port and answer nothing."""

    def pair(self) -> tuple[RemotePort, RemotePort]:
        """Hold two UDP ports that echo only once both of them were asked."""


class RealBed:
    """This host, within one folder. The kernel compares file systems before it looks at permissions or names."""

    elsewhere = "/proc"

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)
        self._local = LocalSystem()
        self.system: System = self._local
        self._doors = [self._local]
        self._server: _Pages | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def unrunnable(self) -> list[str]:
        """See Bed."""
        # The head of a program for a machine that has the number 0xffff.
        elf = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xff\xff\x01" + bytes(100)
        contents = {"empty": b"", "foreign": elf, "no-program": b"\x00\x01\x02 a page of a proxy"}
        paths = []
        for name, content in contents.items():
            path = Path(self.root) / name
            path.write_bytes(content)
            path.chmod(0o755)
            paths.append(str(path))
        (Path(self.root) / "folder").mkdir()
        return [*paths, f"{self.root}/folder"]

    def rival(self) -> System:
        """A door of its own opens the lock file anew, as another process does."""
        door = LocalSystem()
        self._doors.append(door)
        return door

    def end_first(self) -> None:
        """The kernel gives a lock back when its descriptor is closed."""
        self._close(self._local)

    def _close(self, door: LocalSystem) -> None:
        while door._locks:
            os.close(door._locks.pop())

    @contextlib.contextmanager
    def feed(self, data: bytes) -> Iterator[None]:
        """Put a file in the place of descriptor 0."""
        source = Path(self.root) / "standard-input"
        source.write_bytes(data)
        before = os.dup(0)
        descriptor = os.open(source, os.O_RDONLY)
        os.dup2(descriptor, 0)
        os.close(descriptor)
        try:
            yield
        finally:
            os.dup2(before, 0)
            os.close(before)
            source.unlink()

    def serve(self, path: str, status: int, body: bytes) -> str:
        """See Bed."""
        server = self._pages()
        server.pages[path] = (status, body)
        return f"http://127.0.0.1:{server.server_port}{path}"

    def listener(self) -> RemotePort:
        """See Bed."""
        return RemotePort("127.0.0.1", Port("tcp", self._pages().server_port))

    def silent(self) -> RemotePort:
        """See Bed."""
        return self._held()[1]

    def pair(self) -> tuple[RemotePort, RemotePort]:
        """See Bed."""
        (first, one), (second, other) = self._held(), self._held()
        thread = threading.Thread(target=_echo_when_all_asked, args=((first, second),))
        self._threads.append(thread)
        thread.start()
        return one, other

    def _held(self) -> tuple[socket.socket, RemotePort]:
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(held)
        held.settimeout(20)
        held.bind(("127.0.0.1", 0))
        return held, RemotePort("127.0.0.1", Port("udp", held.getsockname()[1]))

    def _pages(self) -> _Pages:
        if self._server is None:
            self._server = _Pages()
        return self._server

    def close(self) -> None:
        """Give back descriptors and the server's port."""
        for door in self._doors:
            self._close(door)
        if self._server is not None:
            self._server.stop()
        for thread in self._threads:
            thread.join()
        for held in self._sockets:
            held.close()


def _echo_when_all_asked(held: tuple[socket.socket, ...]) -> None:
    """Whoever asks one after the other hears nothing of the first: its question is over before the second comes."""
    with contextlib.suppress(TimeoutError):
        asked = [(one, *one.recvfrom(512)) for one in held]
        for one, data, peer in asked:
            one.sendto(data, peer)


class _Pages(HTTPServer):
    """A server on the loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, tuple[int, bytes]] = {}
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Pages
    silent: ClassVar[bool] = True

    def do_GET(self) -> None:
        status, body = self.server.pages[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SimulatedBed:
    """A host in memory, with the programs that the suite starts."""

    elsewhere = "/elsewhere"

    def __init__(self) -> None:
        self.root = "/bed"
        self._simulated = SimulatedSystem()
        self._simulated.put({"/bed/.keep": "", "/elsewhere/.keep": ""})
        self._simulated.mounts.add("/elsewhere")
        self._simulated.script_process(("sh", "-c"), _shell)
        self._simulated.script("productive-k3s-no-such-program", returncode=127, stderr="No such file or directory")
        self.system: System = self._simulated

    def unrunnable(self) -> list[str]:
        """See Bed."""
        self._simulated.script("/bed/empty", returncode=126, stderr="Exec format error")
        return ["/bed/empty"]

    def rival(self) -> System:
        """See Bed."""
        return self._simulated.another_process()

    def end_first(self) -> None:
        """See Bed."""
        self._simulated.end()

    @contextlib.contextmanager
    def feed(self, data: bytes) -> Iterator[None]:
        """See Bed."""
        self._simulated.standard_input = data
        yield

    def serve(self, path: str, status: int, body: bytes) -> str:
        """See Bed."""
        url = f"http://127.0.0.1:8000{path}"
        self._simulated.pages[url] = HttpResponse(status, body)
        return url

    def listener(self) -> RemotePort:
        """See Bed."""
        return self._reachable("tcp", 8000)

    def silent(self) -> RemotePort:
        """See Bed."""
        return RemotePort("127.0.0.1", Port("udp", 8001))

    def pair(self) -> tuple[RemotePort, RemotePort]:
        """See Bed."""
        return self._reachable("udp", 8002), self._reachable("udp", 8003)

    def _reachable(self, protocol: Literal["tcp", "udp"], number: int) -> RemotePort:
        place = RemotePort("127.0.0.1", Port(protocol, number))
        self._simulated.reachable.add(place)
        return place

    def close(self) -> None:
        """There is nothing to give back."""


def _shell(command: Command) -> Completed | Lasting:
    """Do what the suite's few lines of shell do."""
    words = command.argv[2].split()
    if words[0] == "sleep":
        return Lasting(float(words[1]), Completed(0, "", ""))
    if words[0] == "cat":
        return Completed(0, (command.stdin or b"").decode(), "")
    if words[0] == "exit":
        return Completed(int(words[1]), "", "")
    assert words[:2] == ["printf", "%s"]
    return Completed(0, command.environment.get(words[2].strip('"$'), ""), "")
