"""The door to the host: files, units, processes, clock, TCP. Everything effectful goes through it.

It has two halves. `Reading` changes nothing, and is all that facts, waits and checks are given; `System` is `Reading`
with what changes a host, for `effects` alone. So the type checker proves who changes something.

The methods are `async` so that a simulated host can suspend on virtual time; the real door never suspends, so on a host
the program runs without an event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Literal, Mapping, Optional, Protocol, Sequence, Tuple

from productive_k3s.contract.secret import Secret
from productive_k3s.doors.pace import GoingOn, nothing_ends_it
from productive_k3s.doors.questions import Question


@dataclass(frozen=True)
class Stat:
    """lstat of a path. `changed` is ctime in Unix seconds; `link` the target of a symbolic link."""

    kind: Literal["file", "directory", "link", "other"]
    mode: int
    uid: int
    gid: int
    size: int
    changed: float
    link: str = ""


@dataclass(frozen=True)
class Space:
    """What a file system has: what is free for root's processes, what there is in all."""

    free_bytes: int
    total_bytes: int
    read_only: bool


@dataclass(frozen=True)
class Completed:
    """A finished process."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class HttpResponse:
    """An HTTP answer."""

    status: int
    body: bytes


def require_proof(url: str, ca: Optional[bytes], authorization: Optional[Secret]) -> None:
    """PURE: raise ValueError where credentials would be sent to somebody whom nothing proves."""
    if authorization is not None and not (ca and url.startswith("https://")):
        raise ValueError(f"credentials for {url} need https and its CA")


@dataclass(frozen=True)
class Port:
    """A port of a host, written tcp/6443."""

    protocol: Literal["tcp", "udp"]
    number: int

    def __str__(self) -> str:
        return f"{self.protocol}/{self.number}"


@dataclass(frozen=True)
class RemotePort:
    """A port of another host."""

    address: str
    port: Port


class Reading(Protocol):
    """The half of a host's door that changes nothing.

    Paths are absolute. A missing file is None or empty, no exception; what cannot be done is OSError.
    """

    async def stat(self, path: str) -> Optional[Stat]: ...

    async def read(self, path: str, limit: int = 4 << 20) -> Optional[bytes]: ...

    async def sha256(self, path: str) -> Optional[str]: ...

    async def list_directory(self, path: str) -> Tuple[str, ...]: ...

    async def label(self, path: str) -> str:
        """Return a file's SELinux label, '' where there is none."""

    async def space(self, path: str) -> Optional[Space]:
        """Return what the file system of an existing path has."""

    async def ask(self, question: Question, *words: str) -> Completed:
        """Run the command that answers the question (doors.questions); ends as `System.run` does."""

    async def get(
        self, url: str, *, ca: Optional[bytes], timeout: float, authorization: Optional[Secret] = None
    ) -> HttpResponse:
        """GET within `timeout` in all, following redirects.

        `ca` b"" verifies with the host's own trust.

        `ca` None does not verify: for /cacerts and /ping only, whose answer is compared with a hash that is known.

        `authorization` is the header of that name. It is sent to the URL's own server only, not to where that
        redirects, and only where the certificates `ca` prove who it is: anything else is a ValueError.
        """

    async def reach(self, places: Sequence[RemotePort], timeout: float) -> Mapping[RemotePort, str]:
        """Try ports elsewhere, all at once and each for `timeout`; return '' for what answers, else the cause in words.

        TCP answers by accepting, UDP if a `listen` there sends a datagram back. Whatever hangs takes no time of others.
        """

    async def now(self) -> float: ...

    async def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class System(Reading, Protocol):
    """One host, to be read and to be changed."""

    async def write(
        self, path: str, data: bytes, mode: int, *, owner: Optional[Tuple[int, int]] = None, label: str = ""
    ) -> None:
        """Replace the file as a whole: temporary file beside it, mode, owner, SELinux label, fsync, rename.

        `owner` is user and group (None: this process'), a label of '' the one that the folder gives. Parents are made
        0755. Whoever is killed on the way leaves the old file or the whole new one, also through a loss of power.
        """

    async def copy(self, source: str, target: str, sha256: str, mode: int, *, label: str = "") -> None:
        """Replace `target`, as `write` does, by what lies at `source`; another checksum is a ContractError."""

    async def adopt(self, source: str, target: str, mode: int, *, label: str = "") -> None:
        """Give a file mode, label and then the other name, as `rename` does; what it holds is on the disk by then."""

    async def set_label(self, path: str, label: str) -> None:
        """Give a file that is there an SELinux label."""

    async def rename(self, source: str, target: str) -> None:
        """Give it the other name, also where that is taken; the OSError between two file systems is EXDEV."""

    async def link(self, target: str, path: str) -> None: ...

    async def remove(self, path: str) -> None:
        """Remove a file, link or empty directory; no error if it is not there."""

    async def remove_tree(self, path: str) -> None:
        """Remove a directory and what is in it, on its own file system only; of a link the link."""

    async def empty_tree(self, path: str) -> None:
        """Remove what is in a directory, as `remove_tree` does; the directory stays, and a link that leads to it."""

    async def make_directory(self, path: str, mode: int) -> None: ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: Optional[bytes] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> Completed:
        """Run a program. A Secret in `argv` is a TypeError.

        A program that is missing is returncode 127, a file that cannot be run 126, and one that does not end in
        `timeout` seconds is killed: 124.
        """

    async def receive(
        self, path: str, sha256: str, mode: int, size: Optional[int] = None, *, going_on: GoingOn = nothing_ends_it
    ) -> int:
        """Write the next `size` bytes of standard input (None: all) to `path`, verify, rename; return how many came.

        No byte more is read. An end before `size` is a wrong checksum. `going_on` is called often, also while nothing
        comes: what it raises ends it. Silence and slowness are bounded too (doors.pace). Nothing is left then.
        """

    async def skip(self, size: int, *, going_on: GoingOn = nothing_ends_it) -> None:
        """Read the next `size` bytes of standard input, as far as they come, and drop them; it ends as `receive`."""

    async def download(
        self,
        url: str,
        path: str,
        sha256: str,
        mode: int,
        timeout: float,
        *,
        environment: Optional[Mapping[str, str]] = None,
        label: str = "",
        going_on: GoingOn = nothing_ends_it,
    ) -> None:
        """Fetch over HTTP(S), verify, rename into place; what is wrong is a ContractError with its cause.

        It ends as `receive` does. `timeout` is the grace before its average speed counts: what is large has its time.

        `environment` names a proxy as variables do (HTTP_PROXY, HTTPS_PROXY, NO_PROXY); none in it: this process' own.
        """

    async def listen(
        self, ports: Sequence[Port], seconds: float, ready: Callable[[], None], stop: Callable[[], bool]
    ) -> Mapping[Port, str]:
        """Hold the ports for `seconds` or until `stop()`, asked often; return '' or why one was not opened.

        TCP is accepted and closed, a datagram of `reach` sent back. `ready()` is called once when all are tried.
        """

    async def lock(self, path: str, wait: float) -> Optional[str]:
        """Take a lock of the host for the life of this process; None if it is ours, else who holds it.

        Its folder is made 0700. One that others may write in, or that is a link, is a ContractError: there they could
        hold the lock, or have something else written.
        """
