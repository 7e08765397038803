"""What only the real door to this host can show: who may hold its locks, what a loss of power leaves, what hangs."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from contract.system.beds import RealBed
from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.host import run_to_end
from productive_k3s.doors.local import LocalSystem
from productive_k3s.doors.pace import Pace, nothing_ends_it
from static.contract_program.api_server import authority, leaf

pytestmark = pytest.mark.contract

_DATA = b"what is written\n"
_DIGEST = hashlib.sha256(_DATA).hexdigest()


async def code(awaitable: Awaitable[object]) -> str:
    with pytest.raises(ContractError) as caught:
        await awaitable
    return caught.value.failure.code


class TestLockFolder:
    """On this host only: who may write where the locks lie could hold them, or have root write elsewhere."""

    async def test_it_is_this_users_alone(self, tmp_path: Path) -> None:
        door = LocalSystem()
        assert await door.lock(f"{tmp_path}/run/lock", 0) is None
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "run" / "lock").stat().st_mode & 0o777 == 0o600
        (tmp_path / "run").chmod(0o755)
        assert await door.lock(f"{tmp_path}/run/other", 0) is None
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
    async def test_one_that_others_may_write_in_is_refused(self, tmp_path: Path, mode: int) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run").chmod(mode)
        assert await code(LocalSystem().lock(f"{tmp_path}/run/lock", 0)) == "host.unsafe-directory"
        assert list((tmp_path / "run").iterdir()) == []

    async def test_one_of_roots_refuses_the_user_and_not_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await LocalSystem().lock(f"{tmp_path}/run/lock", 0) is None
        os.chown(tmp_path / "run", 0, 0)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(PermissionError):
            await LocalSystem().lock(f"{tmp_path}/run/lock", 0)

    async def test_a_link_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "theirs").mkdir(mode=0o700)
        (tmp_path / "run").symlink_to("theirs")
        assert await code(LocalSystem().lock(f"{tmp_path}/run/lock", 0)) == "host.unsafe-directory"
        (tmp_path / "victim").write_text("what root must not truncate")
        (tmp_path / "theirs" / "lock").symlink_to(tmp_path / "victim")
        with pytest.raises(OSError, match="symbolic links"):
            await LocalSystem().lock(f"{tmp_path}/theirs/lock", 0)
        assert (tmp_path / "victim").read_text() == "what root must not truncate"

    async def test_who_waits_while_the_folder_goes_locks_what_others_find(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An uninstallation removes the folder under its own lock; the file that was waited for is nobody's then."""
        bed, path = RealBed(tmp_path), f"{tmp_path}/run/lock"
        assert await bed.system.lock(path, 0) is None

        def uninstalled(_: float) -> None:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            bed.end_first()

        monkeypatch.setattr(time, "sleep", uninstalled)
        assert await bed.rival().lock(path, 5) is None
        assert await bed.rival().lock(path, 0)
        bed.close()

    async def test_a_file_that_was_replaced_before_it_was_locked_is_no_lock(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between opening it and locking it its folder goes, and somebody else locks a new file of that name."""
        path, first, other = f"{tmp_path}/run/lock", LocalSystem(), LocalSystem()
        flock, held = fcntl.flock, []

        def replaced(descriptor: int, operation: int) -> None:
            if not held:
                held.append(descriptor)
                shutil.rmtree(tmp_path / "run")
                run_to_end(other.lock(path, 0))
            flock(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", replaced)
        assert await first.lock(path, 0) is not None

    async def test_who_waits_in_vain_changes_nothing(self, tmp_path: Path) -> None:
        first, path = LocalSystem(), tmp_path / "run" / "lock"
        assert await first.lock(str(path), 0) is None
        holder = path.read_text()
        assert await LocalSystem().lock(str(path), 0) == holder.strip()
        assert path.read_text() == holder


class TestLossOfPower:
    """What has its name is on the disk: the file before it is renamed, the folder after."""

    @pytest.mark.parametrize("way", ["write", "copy", "adopt", "receive", "download", "link", "rename"])
    async def test_the_file_before_its_name_and_the_folder_after(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        bed = RealBed(tmp_path)
        source, target = f"{tmp_path}/source", f"{tmp_path}/folder/k3s"
        (tmp_path / "source").write_bytes(_DATA)
        (tmp_path / "folder").mkdir()
        done: list[tuple[str, str]] = []
        rename, fsync = os.rename, os.fsync

        def renamed(old: str, new: str) -> None:
            done.append(("rename", new))
            rename(old, new)

        def synced(descriptor: int) -> None:
            done.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
            fsync(descriptor)

        monkeypatch.setattr(os, "rename", renamed)
        monkeypatch.setattr(os, "fsync", synced)
        system = bed.system
        ways = {
            "write": lambda: system.write(target, _DATA, 0o644),
            "copy": lambda: system.copy(source, target, _DIGEST, 0o755),
            "adopt": lambda: system.adopt(source, target, 0o755),
            "receive": lambda: system.receive(target, _DIGEST, 0o644, len(_DATA)),
            "download": lambda: system.download(bed.serve("/k3s", 200, _DATA), target, _DIGEST, 0o755, 30),
            "link": lambda: system.link("k3s", target),
            "rename": lambda: system.rename(source, target),
        }
        with bed.feed(_DATA):
            await ways[way]()
        bed.close()
        named = done.index(("rename", target))
        files = [path for what, path in done[:named] if what == "sync"]
        assert bool(files) == (way not in ("link", "rename"))
        assert ("sync", str(tmp_path / "folder")) in done[named:]


class Stopped(Exception):
    """Somebody asked to stop."""


class Silent:
    """A server that begins an answer and then says nothing more; `trickles` lets it say a little now and then."""

    def __init__(self, *, trickles: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/k3s"
        self._over = threading.Event()
        self._trickles = trickles
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + _DATA)
            while not self._over.wait(0.05):
                if self._trickles:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"x")

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()


@contextlib.contextmanager
def waiting_input() -> Iterator[None]:
    """Standard input on which something came once, and to which somebody still may write."""
    reader, writer = os.pipe()
    before = os.dup(0)
    os.dup2(reader, 0)
    os.close(reader)
    os.write(writer, _DATA)
    try:
        yield
    finally:
        os.close(writer)
        os.dup2(before, 0)
        os.close(before)


def stop_after(looks: int) -> Callable[[], None]:
    """Return a `going_on` that is asked so often before it ends the transfer."""
    asked = itertools.count(1)

    def going_on() -> None:
        if next(asked) > looks:
            raise Stopped

    return going_on


class TestTransfersThatHang:
    """On this host only: what waits for others hears that it shall stop, and leaves nothing."""

    async def test_a_download(self, tmp_path: Path) -> None:
        server = Silent()
        try:
            with pytest.raises(Stopped):
                await LocalSystem().download(server.url, f"{tmp_path}/k3s", _DIGEST, 0o755, 600, going_on=stop_after(3))
        finally:
            server.close()
        assert await LocalSystem().list_directory(str(tmp_path)) == ()

    @pytest.mark.parametrize("way", ["receive", "skip"])
    async def test_standard_input(self, tmp_path: Path, way: str) -> None:
        system = LocalSystem()
        stop = stop_after(3)
        waiting: Awaitable[object] = (
            system.receive(f"{tmp_path}/k3s", _DIGEST, 0o755, 1000, going_on=stop)
            if way == "receive"
            else system.skip(1000, going_on=stop)
        )
        with waiting_input(), pytest.raises(Stopped):
            await waiting
        assert await system.list_directory(str(tmp_path)) == ()

    async def test_an_answer_that_trickles(self) -> None:
        server = Silent(trickles=True)
        try:
            assert await code(LocalSystem().get(server.url, ca=None, timeout=0.5)) == "network.unreachable"
        finally:
            server.close()


class TestPace:
    @staticmethod
    def until_it_ends(seconds_between: float, size: int, limit: float) -> tuple[float, str]:
        """Let so many bytes come so often; return when it was ended and why, or the limit."""
        time = [0.0]
        pace = Pace("k3s", 600.0, nothing_ends_it, clock=lambda: time[0])
        try:
            while time[0] < limit:
                time[0] += seconds_between
                pace.came(size) if size else pace.look()
        except ContractError as error:
            return time[0], error.failure.code
        return limit, ""

    def test_silence_ends_it(self) -> None:
        assert self.until_it_ends(1.0, 0, 1e4) == (60.0, "artifact.too-slow")

    def test_what_is_large_has_its_time(self) -> None:
        """16 hosts that share a line of 20 Mbit/s, each with 270 MB: half an hour, and no failure."""
        assert self.until_it_ends(1.0, 156_000, 270e6 / 156_000) == (270e6 / 156_000, "")

    def test_what_hardly_comes_ends_soon_after_the_grace(self) -> None:
        seconds, found = self.until_it_ends(10.0, 100, 1e6)
        assert found == "artifact.too-slow"
        assert 600 <= seconds <= 620


class _Redirecting(BaseHTTPRequestHandler):
    """Answers /there with what it was shown, and sends /away there."""

    shown: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.shown.append((self.path, self.headers.get("Authorization", "")))
        self.send_response(302 if self.path == "/away" else 200)
        self.send_header("Location", "/there")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class TestCredentials:
    """On this host only: they go to the one server that the CA proves."""

    @pytest.fixture
    def served(self, tmp_path: Path) -> Iterator[tuple[str, bytes]]:
        """Serve over TLS; yield the URL and the CA."""
        ca = authority("k3s-server-ca@1")
        (tmp_path / "serving.pem").write_bytes(b"".join(leaf(ca, "k3s", server=True)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "serving.pem")
        _Redirecting.shown.clear()
        with HTTPServer(("127.0.0.1", 0), _Redirecting) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield f"https://127.0.0.1:{server.server_port}", ca.pem
            server.shutdown()
            thread.join()

    async def test_they_arrive(self, served: tuple[str, bytes]) -> None:
        url, ca = served
        answer = await LocalSystem().get(f"{url}/there", ca=ca, timeout=30, authorization=Secret("Basic eA=="))
        assert (answer.status, _Redirecting.shown) == (200, [("/there", "Basic eA==")])

    async def test_no_redirection_takes_them_along(self, served: tuple[str, bytes]) -> None:
        url, ca = served
        await LocalSystem().get(f"{url}/away", ca=ca, timeout=30, authorization=Secret("Basic eA=="))
        assert _Redirecting.shown == [("/away", "Basic eA=="), ("/there", "")]

    async def test_another_ca_gets_nothing(self, served: tuple[str, bytes]) -> None:
        url, _ = served
        other = authority("k3s-server-ca@1").pem
        asked = LocalSystem().get(f"{url}/there", ca=other, timeout=30, authorization=Secret("Basic eA=="))
        assert await code(asked) == "network.unreachable"
        assert _Redirecting.shown == []
