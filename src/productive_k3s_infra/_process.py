"""Programs on this computer. The only module of the package that uses `subprocess`.

A program is an argument vector, never a shell line. A Secret may be given on standard input; in an argument vector
every user of the computer could read it, in the environment every child, so it is refused there.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.errors import ProcessFailed

_LOG = logging.getLogger(__name__)
_EVIDENCE_LINES = 3
# What a program that was interrupted has to end in order.
_LAST_SECONDS = 20.0


@dataclass(frozen=True)
class ProcessResult:
    """What a program that ended has said."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    input: str | bytes | Secret | None = None,  # noqa: A002 - the word the caller knows from subprocess
    timeout_seconds: float = 60,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> ProcessResult:
    """Run a program to its end and return what it said; its standard input is `input`, or empty.

    `env` is added to this program's own environment. Raises ProcessFailed when the program is missing, does not end in
    time (it is killed), or, unless `check` is off, ends with another exit code than 0.
    """
    words = _plain_words(argv, env)
    began = time.monotonic()
    try:
        done = subprocess.run(
            words,
            input=_bytes(input),
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout_seconds,
            env=_environment(env),
            check=False,
        )
    except OSError as error:
        raise _not_started(words, error) from error
    except subprocess.TimeoutExpired as error:
        raise _too_slow(words, timeout_seconds, _text(error.stderr) or _text(error.stdout)) from error
    _LOG.info("ran %s: exit code %d, %.2f s", " ".join(words), done.returncode, time.monotonic() - began)
    result = ProcessResult(words, done.returncode, _text(done.stdout), _text(done.stderr))
    if check and result.exit_code != 0:
        raise _failed(words, result.exit_code, result.stderr or result.stdout)
    return result


def run_with_lines(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    timeout_seconds: float,
    env: Mapping[str, str] | None = None,
    on_start: Callable[[Callable[[], None]], None] = lambda _interrupt: None,
) -> None:
    """Run a long program and hand over each line it says (both streams) as it comes. Fails as `run` does.

    One that is over its time is interrupted, as by Ctrl-C, and killed only if it does not end then. `on_start` is given
    what sends the program SIGINT: it has a process group of its own and hears no Ctrl-C.
    """
    words = _plain_words(argv, env)
    last: list[str] = []
    _LOG.info("runs %s", " ".join(words))
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(env),
            process_group=0,
        )
    except OSError as error:
        raise _not_started(words, error) from error
    _LOG.debug("process %d", process.pid)
    on_start(lambda: process.send_signal(signal.SIGINT))
    with _ended_after(process, timeout_seconds) as is_expired:
        try:
            with process:
                for raw in process.stdout or ():
                    line = _text(raw).rstrip()
                    last = [*last[-19:], line]
                    _LOG.debug("%d: %s", process.pid, line)
                    on_line(line)
        except BaseException:
            _kill_group(process)
            raise
    if is_expired():
        raise _too_slow(words, timeout_seconds, "\n".join(last))
    if process.returncode != 0:
        raise _failed(words, process.returncode, "\n".join(last))


@contextmanager
def _ended_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[Callable[[], bool]]:
    """Interrupt a process that lasts longer, and kill it where that does not help; say whether it came to that.

    It may have to write down what it made: OpenTofu keeps its state, and frees its lock, when it is interrupted.
    """
    expired = threading.Event()
    killer = threading.Timer(_LAST_SECONDS, _kill_group, (process,))

    def give_up() -> None:
        expired.set()
        _signal_group(process, signal.SIGINT)
        killer.start()

    timer = threading.Timer(seconds, give_up)
    timer.start()
    try:
        yield expired.is_set
    finally:
        timer.cancel()
        killer.cancel()


def start_detached(argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> None:
    """Start a program that outlives this one: own session, no terminal, what it says appended to `log`.

    It is not a child of this process, so nobody has to wait for it; the caller finds it by its effects.
    """
    words = _plain_words(argv, env)
    _LOG.info("starts %s", " ".join(words))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        done = subprocess.run(
            ("setsid", "--fork", *words),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=_environment(env),
            cwd="/",
            check=False,
        )
    except OSError as error:
        raise _not_started(("setsid",), error) from error
    finally:
        os.close(descriptor)
    if done.returncode != 0:
        raise _failed(words, done.returncode, "setsid could not start it")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # Its children hold the pipe open as well, and reading would go on for as long as they live.
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # all of them have ended


def _plain_words(argv: Sequence[str], env: Mapping[str, str] | None) -> tuple[str, ...]:
    for word in (*argv, *(env or {}).values()):
        if not isinstance(word, str):
            raise TypeError(f"an argument vector holds plain text only, not {type(word).__name__}")
    return tuple(argv)


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    # LC_ALL: some callers read what the program says.
    return {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}


def _bytes(given: str | bytes | Secret | None) -> bytes | None:
    if isinstance(given, Secret):
        given = given.unmask()
    return given.encode() if isinstance(given, str) else given


def _text(raw: bytes | str | None) -> str:
    if raw is None:
        return ""
    return raw if isinstance(raw, str) else raw.decode("utf-8", errors="replace")


def _evidence(said: str) -> str:
    return " | ".join(line.strip() for line in said.strip().splitlines()[-_EVIDENCE_LINES:])


def _not_started(words: tuple[str, ...], error: OSError) -> ProcessFailed:
    missing = isinstance(error, FileNotFoundError)
    return ProcessFailed(
        f"{words[0]} is not installed on this computer" if missing else f"{words[0]} could not be started",
        evidence=str(error),
        remedy=f"install the package that provides {words[0]}" if missing else "",
        code="process.missing" if missing else "process.failed",
    )


def _too_slow(words: tuple[str, ...], timeout_seconds: float, said: str) -> ProcessFailed:
    return ProcessFailed(
        f"{' '.join(words[:3])} did not end within {timeout_seconds:g} s and was killed",
        evidence=_evidence(said) or "it printed nothing",
        code="process.timeout",
    )


def _failed(words: tuple[str, ...], exit_code: int, said: str) -> ProcessFailed:
    return ProcessFailed(
        f"{' '.join(words[:3])} exited with code {exit_code}", evidence=_evidence(said) or "it printed nothing"
    )
