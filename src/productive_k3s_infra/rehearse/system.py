"""A simulated host behind the `System` door: files in memory, scripted processes, time that passes only in waits.

It is held to what the real door does by tests/contract/system. A command that nobody scripted is a defect of the
rehearsal, so it raises instead of looking like a program that failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.secret import Secret
from productive_k3s.doors.local_files import checksum_failure, what_came
from productive_k3s.doors.pace import GoingOn, nothing_ends_it
from productive_k3s.doors.questions import Question, command_of
from productive_k3s.doors.system import Completed
from productive_k3s_infra.rehearse.clock import Clock, SteppingClock
from productive_k3s_infra.rehearse.network import MemoryNetwork

_LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Command:
    """A process that was started."""

    argv: tuple[str, ...]
    stdin: bytes | None
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Lasting:
    """A process that takes time."""

    seconds: float
    completed: Completed


Process = Callable[[Command], Completed | Lasting]


class UnscriptedCommand(Exception):
    """A process was started that the rehearsal knows nothing of."""


class SimulatedSystem(MemoryNetwork):
    """One host, as one process on it has it; `another_process` is a second program on the same host."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock or SteppingClock())
        self.commands: list[Command] = []
        self.standard_input = b""
        self._scripts: dict[tuple[str, ...], Process] = {}
        self._locks: dict[str, str] = {}
        self.process = "process 1"

    def script(self, *prefix: str, stdout: str = "", stderr: str = "", returncode: int = 0) -> None:
        """Say how commands that begin so end."""
        completed = Completed(returncode, stdout, stderr)
        self.script_process(prefix, lambda _: completed)

    def script_process(self, prefix: Sequence[str], process: Process) -> None:
        """Say what commands that begin so do."""
        self._scripts[tuple(prefix)] = process

    def another_process(self) -> SimulatedSystem:
        """Return the door as a second program on this host has it."""
        other = SimulatedSystem.__new__(SimulatedSystem)
        other.__dict__.update(self.__dict__)
        other.process = f"another than {self.process}"
        return other

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109 - the door's own signature
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """See System. The longest script that fits answers."""
        if any(isinstance(word, Secret) for word in argv):
            raise TypeError("a secret has no place in an argument vector")
        command = Command(tuple(argv), stdin, dict(environment or {}))
        self.commands.append(command)
        fitting = [prefix for prefix in self._scripts if command.argv[: len(prefix)] == prefix]
        if not fitting:
            raise UnscriptedCommand(" ".join(command.argv))
        done = self._scripts[max(fitting, key=len)](command)
        if isinstance(done, Completed):
            return done
        await self.clock.sleep(min(done.seconds, timeout))
        if done.seconds > timeout:
            return Completed(124, "", f"no end within {timeout:.0f} s; ")
        return done.completed

    async def ask(self, question: Question, *words: str) -> Completed:
        """See Reading. The command is scripted as any other."""
        command = command_of(question, words)
        return await self.run(command.argv, timeout=command.timeout, environment=command.environment)

    async def receive(
        self, path: str, sha256: str, mode: int, size: int | None = None, *, going_on: GoingOn = nothing_ends_it
    ) -> int:
        """See System."""
        going_on()
        data = self._take(size)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ContractError(checksum_failure(what_came(path, len(data), size), found, sha256))
        await self.write(path, data, mode)
        return len(data)

    async def skip(self, size: int, *, going_on: GoingOn = nothing_ends_it) -> None:
        """See System."""
        going_on()
        self._take(size)

    def _take(self, size: int | None) -> bytes:
        taken = self.standard_input[:size]
        self.standard_input = self.standard_input[len(taken) :]
        return taken

    async def lock(self, path: str, wait: float) -> str | None:
        """See System. A lock is held until its process ends."""
        limit = self.clock.monotonic() + wait
        while self._locks.get(path, self.process) != self.process:
            if self.clock.monotonic() >= limit:
                return self._locks[path]
            await self.clock.sleep(_LOCK_POLL_SECONDS)
        self._locks[path] = self.process
        return None

    def end(self) -> None:
        """End this process: its locks are free."""
        for path in [path for path, holder in self._locks.items() if holder == self.process]:
            del self._locks[path]

    async def now(self) -> float:
        """See System."""
        return self.clock.now()

    async def monotonic(self) -> float:
        """See System."""
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See System."""
        await self.clock.sleep(seconds)
