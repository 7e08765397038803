"""The real door to this host. Its methods never suspend, so the program runs without an event loop."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from typing import Mapping, Optional, Sequence

from productive_k3s.contract.secret import Secret
from productive_k3s.doors.local_files import LocalFiles
from productive_k3s.doors.local_network import LocalNetwork
from productive_k3s.doors.questions import Question, command_of
from productive_k3s.doors.system import Completed

# The statuses that a shell gives, and timeout(1).
_NOT_FOUND = 127
_NOT_RUNNABLE = 126
_TIMED_OUT = 124
# What the kernel says of a file that is no program for this machine (execve(2)): an empty one, one of another
# architecture, a directory, one that is being written.
_UNRUNNABLE = frozenset(
    (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ETXTBSY, errno.EIO)
)
# The same words from every program, wherever it is started; sudo's and cron's PATH may lack the sbin directories.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class LocalSystem(LocalFiles, LocalNetwork):
    """This host: `System` for real."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: Optional[bytes] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> Completed:
        """See System. A process that is over its time is killed, with what it started in its session."""
        if any(isinstance(word, Secret) for word in argv):
            raise TypeError("a secret has no place in an argument vector")
        try:
            # A session of its own: a Ctrl-C on the terminal asks this program to stop, not the half-done command.
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **_ENVIRONMENT, **(environment or {})},
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            return Completed(_NOT_FOUND, "", str(error))
        except OSError as error:
            if error.errno not in _UNRUNNABLE:
                raise
            return Completed(_NOT_RUNNABLE, "", str(error))
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            return Completed(_TIMED_OUT, _text(out), f"no end within {timeout:.0f} s; {_text(err)}")
        return Completed(process.returncode, _text(out), _text(err))

    async def ask(self, question: Question, *words: str) -> Completed:
        """See Reading."""
        command = command_of(question, words)
        return await self.run(command.argv, timeout=command.timeout, environment=command.environment)

    async def now(self) -> float:
        """See Reading."""
        return time.time()

    async def monotonic(self) -> float:
        """See System."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See System."""
        time.sleep(seconds)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
