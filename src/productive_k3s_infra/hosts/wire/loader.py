"""Runs on a host, never here: `bootstrap` sends this file's text as the first line of standard input.

It reads one line that says what to run, gets the program (from where it is kept, or from standard input), verifies it,
and runs it from memory. Only the standard library of Python 3.9; whatever it has to say is a line of the wire.

All lines come through the text layer of standard input, which reads ahead. So the sender waits for the program's
`hello` before it sends a payload, which is read from the descriptor.
"""
# os does all that is needed here; pathlib would be loaded on every host and every call:
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH112, PTH118, PTH123, PTH208

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import io
import json
import os
import signal
import stat
import sys
import threading
import time
from typing import Any

KEPT = "/usr/local/lib/productive-k3s"
KEEP_NEWEST = 2
UNFINISHED_SECONDS = 3600.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Trouble(Exception):
    """What stops the program from being run: the fields of a Failure."""


def say(document: dict[str, Any]) -> None:
    """Write one line of the wire."""
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def fail(code: str, what: str, evidence: str, remedy: str) -> int:
    """Say hello and a result in the program's place."""
    python = ".".join(map(str, sys.version_info[:3]))
    say({"type": "hello", "program": "", "python": python, "schema": 1})
    failure = {"code": code, "what": what, "evidence": evidence, "remedy": remedy, "exit_code": 5}
    say({"type": "result", "outcome": "failed", "failures": [failure]})
    return 5


def receive(sha256: str) -> bytes:
    """Return the program that comes as one line of base64."""
    program = base64.b64decode(sys.stdin.readline().strip())
    found = hashlib.sha256(program).hexdigest()
    if found != sha256:
        evidence = f"{len(program)} bytes arrived with sha256 {found[:12]}..., expected {sha256[:12]}..."
        raise Trouble("host.program-damaged", "the program did not arrive complete", evidence, "run it again")
    return program


def kept(sha256: str) -> bytes | None:
    """Return the program that an earlier run kept here, if it is what it shall be."""
    try:
        with open(os.path.join(KEPT, f"{sha256}.pyz"), "rb") as file:
            program = file.read()
    except OSError:
        return None
    return program if hashlib.sha256(program).hexdigest() == sha256 else None


def keep(sha256: str, program: bytes) -> None:
    """Write the program where it is kept, whole or not at all, and remove old ones."""
    try:
        directory()
        path = os.path.join(KEPT, f"{sha256}.pyz")
        descriptor = os.open(f"{path}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(program)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            os.rename(f"{path}.{os.getpid()}", path)
        except BaseException:
            os.unlink(f"{path}.{os.getpid()}")
            raise
        prune(f"{sha256}.pyz")
    except OSError as error:
        raise trouble(error) from error


def directory() -> None:
    """Make the directory for kept programs; what is in it is run as root, so only root may write there."""
    try:
        os.mkdir(KEPT, 0o755)
        os.chmod(KEPT, 0o755)  # noqa: S103 - everybody may read it, as all of /usr/local/lib
    except FileExistsError:
        # Another run may have made it just now: a server is told of its own node and of others' at once.
        if not os.path.isdir(KEPT):
            raise
    found = os.lstat(KEPT)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        evidence = f"{KEPT}: uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}"
        remedy = f"find out who created it, then: rm -r {KEPT}"
        raise Trouble("host.unsafe-directory", "other users can write to the folder of the program", evidence, remedy)


def prune(newest: str) -> None:
    """Remove all but the newest kept programs, and what killed runs left; another run may write or prune just now."""
    ages = {}
    for name in os.listdir(KEPT):
        with contextlib.suppress(FileNotFoundError):
            ages[name] = time.time() - os.lstat(os.path.join(KEPT, name)).st_mtime
    others = sorted((name for name in ages if name.endswith(".pyz") and name != newest), key=ages.__getitem__)
    unfinished = [name for name, age in ages.items() if ".pyz." in name and age > UNFINISHED_SECONDS]
    for name in (*others[KEEP_NEWEST - 1 :], *unfinished):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(KEPT, name))


def trouble(error: OSError) -> Trouble:
    """Return what an errno means for the person."""
    evidence = f"{error.filename or KEPT}: {error.strerror}"
    if error.errno in DISK_FULL:
        return Trouble("host.disk-full", "there is no space left on the host", evidence, "free some space there")
    if error.errno == errno.EROFS:
        remedy = "look for the cause in the host's log; remount it read-write"
        return Trouble("host.read-only", "a file system of the host is read-only", evidence, remedy)
    return Trouble("host.not-writable", "the program cannot be stored on the host", evidence, "check the path's owner")


def watch_reader() -> None:
    """Ask the program to stop as soon as the other side has gone: nothing else comes on standard input, but its end."""

    def watch() -> None:
        try:
            while os.read(0, 4096):
                continue
        except OSError:
            return
        os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=watch, daemon=True).start()


def run(program: bytes, arguments: tuple[str, ...], document: str | None) -> int:
    """Run the program from memory, with the document as its standard input."""
    descriptor = os.memfd_create("productive-k3s")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(program)
    sys.path.insert(0, f"/proc/self/fd/{descriptor}")
    sys.argv = ["productive-k3s", *arguments]
    if document is not None:
        sys.stdin = io.TextIOWrapper(io.BytesIO(document.encode()), encoding="utf-8")
    from productive_k3s.__main__ import main

    return main(list(arguments))


def load() -> int:
    """Do what the second line of standard input says."""
    say({"type": "ready"})
    asked = json.loads(sys.stdin.readline())
    # The first alarm asks the program to stop, as a signal of a person does; the next one ends it.
    signal.setitimer(signal.ITIMER_REAL, float(asked["deadline"]), float(asked["grace"]))
    sha256 = asked["sha256"]
    program = kept(sha256)
    try:
        if program is None:
            say({"type": "want"})
            program = receive(sha256)
            if asked["keep"]:
                keep(sha256, program)
    except Trouble as error:
        return fail(*error.args)
    if not asked["payload"]:
        watch_reader()
    return run(program, tuple(asked["arguments"]), asked["document"])


sys.exit(load())
